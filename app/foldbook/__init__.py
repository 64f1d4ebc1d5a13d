"""Foldbook: an event-sourced trading engine with PostgreSQL as its engine room."""
