"""Commands over HTTP: one call, one command; or many, one a line."""
