"""The log and what runs on it: append, fold, group commit, subscriptions, projections. Knows nothing about trading."""
