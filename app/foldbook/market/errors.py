"""What can be wrong with a file of market data."""

from __future__ import annotations

from foldbook.errors import FoldbookError


class MarketDataError(FoldbookError, code="market-data", status=422, title="The market data cannot be used"):
    """A file of market data cannot be used, or a row of it; the text says where, why, and what to do.

    ``details``: ``path``; ``line``, the 1-based line of the file (in Parquet: its row), if it is about one.
    """
