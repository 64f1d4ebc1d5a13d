"""Readers of the log: subscriptions, projections and their administration, waiting for a position."""
