"""A simulated exchange: orders and market data in, execution reports out.

The exchange is pure: no clock, no randomness, no I/O, no await. ``journal`` and ``store`` write down what it is told,
and ``server`` puts it behind HTTP and WebSocket.
"""
