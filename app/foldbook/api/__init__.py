"""The HTTP interface: commands in, queries out, problems told (RFC 9457)."""
