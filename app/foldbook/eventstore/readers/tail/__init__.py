"""The present of the log, for many readers at once: each range is read once, and shared."""
