"""What goes on as long as the client listens: the events of the log, and market data."""
