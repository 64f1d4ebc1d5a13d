"""PostgreSQL itself: the embedded server, connections and their codecs, migrations and code."""
