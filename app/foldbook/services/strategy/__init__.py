"""A strategy in an account of the log, on market data as it comes: the very file that ran in the backtest."""
