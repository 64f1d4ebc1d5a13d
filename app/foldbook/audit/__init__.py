"""For those who distrust everyone: verify the log, export it, verify an export, anchor it."""
