"""Strategies to learn from and to copy. Each is complete in its file and has its page in docs/strategies/."""
