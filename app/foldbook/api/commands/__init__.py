"""Commands over HTTP: one per call, or many, one per line."""
