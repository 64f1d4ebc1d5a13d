"""HTTP/1.1 as it comes over a connection: what is a request, and how much is too much. Knows no call."""
