"""Who may do what: keys, their roles and accounts. Pure: no clock, no randomness, no I/O."""
