"""What runs beside the engine and joins market data with accounts of the log: strategies, and prices told to books."""
