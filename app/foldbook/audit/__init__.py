"""For an auditor who trusts nobody: verify the log, export it, verify an export, anchor it."""
