"""Market data: what a record is, and the files that hold them. The records know no clock and no I/O."""
