"""Queries over HTTP: documents from the read tables and from the log."""
