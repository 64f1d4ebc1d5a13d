"""A simulated exchange: orders and market data in, execution reports out. No clock, no randomness, no I/O, no await."""
