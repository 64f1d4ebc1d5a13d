"""How an account is worked at its exchange."""

from __future__ import annotations

from datetime import datetime

import msgspec


class LiveSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``*_s``: seconds."""

    account: str
    """``user/exchange/live``."""
    symbols: tuple[str, ...] = ()
    """Symbols whose fills are asked for from the start. Those that are traded here are, too."""
    opened_at: datetime
    """When the account was opened here. What had traded by then is not told, but for what the clocks may differ by."""
    request_s: float = 10.0
    """How long an answer may take; then the request is in doubt."""
    rate_wait_s: float = 3.0
    """How long a request may wait for the exchange's rate limit; then it is not sent."""
    clock_difference_max_s: float = 1.0
    """How far the exchange's clock may be from ours. Beyond that nothing is traded."""
    rest_url: str | None = None
    """Where the exchange is, if not at its own address: a local server, say. Likewise ``ws_url``."""
    ws_url: str | None = None
