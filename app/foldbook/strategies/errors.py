"""What can be wrong with a strategy."""

from __future__ import annotations

from foldbook.errors import FoldbookError


class StrategyError(FoldbookError, code="strategy-error", status=422, title="The strategy cannot be loaded or run"):
    """A strategy cannot be loaded, its parameters do not fit it, or it does what no strategy can do."""
