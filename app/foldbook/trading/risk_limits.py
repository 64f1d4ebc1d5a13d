"""Which values limits may have."""

from __future__ import annotations

from decimal import Decimal

from foldbook.trading.checks import is_amount
from foldbook.trading.values import FRACTION_DIGITS_MAX, INTEGER_DIGITS_MAX, ZERO, Rate, RiskLimits

RATE_COUNT_MAX = 1_000
INTERVAL_S_MAX = 86_400
OPEN_ORDERS_MAX = 1_000_000
ALLOWED_SYMBOLS_MAX = 1_000


def check_limits(limits: RiskLimits, symbol: str | None = None) -> tuple[str, str] | None:
    """The wrong field in the limits of the account, or of ``symbol``, and what it must be; None: all is well."""
    for name in (
        "max_quantity",
        "max_notional",
        "price_collar",
        "max_position",
        "max_daily_loss",
        "max_unrealized_loss",
    ):
        amount: Decimal | None = getattr(limits, name)
        if amount is not None and not (is_amount(amount) and amount > ZERO):
            what = "must be greater than 0, with at most {} digits before the point and {} after it"
            return name, what.format(INTEGER_DIGITS_MAX, FRACTION_DIGITS_MAX)
    for name in ("max_order_rate", "max_message_rate"):
        rate: Rate | None = getattr(limits, name)
        if rate is not None and not (1 <= rate.count <= RATE_COUNT_MAX and 1 <= rate.interval_s <= INTERVAL_S_MAX):
            return name, f"must be 1 to {RATE_COUNT_MAX} in 1 to {INTERVAL_S_MAX} seconds"
    for name, largest in (
        ("max_open_orders", OPEN_ORDERS_MAX),
        ("duplicate_window_s", INTERVAL_S_MAX),
        ("price_age_max_s", INTERVAL_S_MAX),
    ):
        number: int | None = getattr(limits, name)
        if number is not None and not 1 <= number <= largest:
            return name, f"must be 1 to {largest}"
    if limits.allowed_symbols is not None:
        if symbol is not None:
            return "allowed_symbols", "is not allowed in the limits of a symbol"
        if len(limits.allowed_symbols) > ALLOWED_SYMBOLS_MAX:
            return "allowed_symbols", f"may have at most {ALLOWED_SYMBOLS_MAX} symbols"
    return None
