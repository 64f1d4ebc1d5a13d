"""The backtest: a strategy and the engine's own deciders on a virtual clock, and what came of it."""
