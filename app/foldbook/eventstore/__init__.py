"""The log and what turns it: append, fold, group commit, subscriptions, projections. Knows nothing of trading."""
