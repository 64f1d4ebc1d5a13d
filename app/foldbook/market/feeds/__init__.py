"""Feeds: market data as it comes, from files, a venue or an exchange, and where it goes."""
