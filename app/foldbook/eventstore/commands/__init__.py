"""The command bus: load, decide, group commit, answer."""
