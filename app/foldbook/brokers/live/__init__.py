"""Brokers at real exchanges, through ccxt: an adapter for one account, and what is particular to each exchange."""
