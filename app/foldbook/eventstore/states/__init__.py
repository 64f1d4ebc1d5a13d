"""States of aggregates as they are kept: as JSON, under a digest of whatever folds them."""
