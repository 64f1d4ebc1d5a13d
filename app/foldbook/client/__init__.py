"""For programs that use an engine from outside: it knows the interface, and nothing of what is behind it."""
