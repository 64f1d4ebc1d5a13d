"""The HTTP interface: commands in, queries out, errors as problem details (RFC 9457)."""
