"""The values of trading: accounts, decimals, and the words of FIX."""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from enum import StrEnum
from typing import Annotated, NewType

import msgspec
from msgspec import Meta

from foldbook.eventstore.declaration import AsText, InPath

NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
"""The pattern of a user's, exchange's, order's, strategy's or currency's name."""

_SYMBOL = r"A-Za-z0-9^$@#/._:=+*&!~-"
SYMBOL = rf"[A-Za-z0-9^$@#/](?:[ {_SYMBOL}]{{0,62}}[{_SYMBOL}])?"
"""The pattern of a symbol, as exchanges, brokers and data vendors write them: ``BTC-USDT``, ``BTC/USDT:USDT``,
``ES=F``, ``^SPX``, ``AAPL  240119C00150000``."""


class Broker(StrEnum):
    """The last part of an account: who executes its orders."""

    LIVE = "live"
    SIMULATED = "simulated"
    BACKTEST = "backtest"


BROKERS = tuple(Broker)

AccountId = NewType("AccountId", str)
"""``user/exchange/broker``: the identity of an order book."""

_ACCOUNT = re.compile(rf"{NAME}/{NAME}/({'|'.join(BROKERS)})\Z")

EXACT = Context(prec=120, traps=[Inexact, InvalidOperation, Overflow])
"""The arithmetic of money: exact, or an error. 120 digits hold a sum of products of the largest amounts."""

QUOTIENTS = Context(prec=400, traps=[Inexact, InvalidOperation, Overflow])
"""The same for quotients: a cost times a quantity, with 36 more digits, takes some 250 digits."""

AVERAGE_DIGITS = 18
UNIT_COST_DIGITS = 36

INTEGER_DIGITS_MAX = 20
FRACTION_DIGITS_MAX = 18

ZERO = Decimal(0)
ONE = Decimal(1)


def amount(text: str) -> Decimal:
    """The canonical decimal of ``text``, which is in plain notation."""
    value = Decimal(text)
    # Most amounts are canonical already; checking that is cheaper than converting again.
    return canonical(value) if text[0] == "-" or (text[-1] == "0" and "." in text) else value


# -- the types of fields in a request: their limits, and how they travel -----------------------------------------

_END = r"(?!\n)$"
"""The end of a pattern: ``$`` alone would let a line feed follow, and JSON Schema has no ``\\Z``."""

NAME_PATTERN = f"^{NAME}{_END}"
SYMBOL_PATTERN = f"^{SYMBOL}{_END}"
ACCOUNT_PATTERN = f"^{NAME}/{NAME}/({'|'.join(BROKERS)}){_END}"
AMOUNT_PATTERN = rf"^-?[0-9]{{1,{INTEGER_DIGITS_MAX}}}(\.[0-9]{{1,{FRACTION_DIGITS_MAX}}})?{_END}"

Name = Annotated[str, Meta(pattern=NAME_PATTERN, examples=["trend"])]
Symbol = Annotated[
    str, Meta(pattern=SYMBOL_PATTERN, examples=["BTC-USDT", "BTC/USDT", "ES=F"]), InPath(detail=f"must match {SYMBOL}")
]
Currency = Annotated[str, Meta(pattern=NAME_PATTERN, examples=["USDT"])]
OrderId = Annotated[
    str, Meta(pattern=NAME_PATTERN, examples=["o-1"]), InPath("unknown-order", f"an order id must match {NAME}")
]
AccountName = Annotated[
    str,
    Meta(pattern=ACCOUNT_PATTERN, examples=["alice/binance/simulated"]),
    InPath(
        "unknown-account",
        "an account is user/exchange/broker, and the broker is live, simulated or backtest",
        parts={"user": Name, "exchange": Name, "broker": Broker},
    ),
]
Amount = Annotated[
    Decimal,
    Meta(description="An exact decimal in plain notation.", examples=["64250.1"]),
    AsText(amount, AMOUNT_PATTERN),
]
Text = Annotated[str, Meta(pattern=rf"^[^\x00-\x1f\x7f]{{1,128}}{_END}")]
REASON_LENGTH_MAX = 1000
Reason = Annotated[str, Meta(pattern=rf"^[^\x00-\x1f\x7f]{{1,{REASON_LENGTH_MAX}}}{_END}")]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Side(StrEnum):
    """FIX Side (54)."""

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """FIX OrdType (40)."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"
    MARKET_TO_LIMIT = "MARKET_TO_LIMIT"
    """FIX K: what a market order leaves over rests at the price that it traded at."""


class TimeInForce(StrEnum):
    """FIX TimeInForce (59)."""

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"
    AT_THE_OPENING = "AT_THE_OPENING"
    AT_THE_CLOSE = "AT_THE_CLOSE"


class GroupKind(StrEnum):
    """What the legs of a group do to each other (FIX ContingencyType, 1385)."""

    OCO = "OCO"
    """One cancels the other: what trades of one leg, even a part, has the others canceled."""
    BRACKET = "BRACKET"
    """The first leg is the entry, the others are its exits. What trades of an exit is taken off the other exits (FIX:
    one updates the other). They are canceled when nothing more can be closed, or if the entry ends untraded."""


class OrderGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders of one account that belong together."""

    kind: GroupKind
    id: Name


class InstrumentKind(StrEnum):
    """What a symbol is. It decides what a fee in its base currency does, and what its price means."""

    SPOT = "SPOT"
    """The thing itself: a coin, a currency, a share. Only here a fee in the base currency changes the quantity."""
    FUTURE = "FUTURE"
    PERPETUAL = "PERPETUAL"
    OPTION = "OPTION"
    INVERSE = "INVERSE"
    """A future or perpetual that is worth ``multiplier`` of the quote currency and is settled in the base currency,
    where its value is quantity * multiplier / price."""


class RequestKind(StrEnum):
    """What is asked of the broker about an order."""

    SUBMIT = "SUBMIT"
    CANCEL = "CANCEL"
    REPLACE = "REPLACE"
    STATUS = "STATUS"
    """What became of it (FIX 35=H)."""


class DoubtOutcome(StrEnum):
    """What became of a request that was in doubt."""

    ANSWERED = "ANSWERED"
    """A report told it."""
    RESENT = "RESENT"
    """The request was sent again, under the same id."""
    ACCEPTED = "ACCEPTED"
    """A person says that the broker did it."""
    REJECTED = "REJECTED"
    """A person says that the broker did not do it, and will not."""
    RESEND = "RESEND"
    """A person wants it to be sent again."""


class ExecutionKind(StrEnum):
    """Why something traded without an order of ours."""

    FOREIGN_ORDER = "FOREIGN_ORDER"
    """An order that was placed elsewhere, by hand at the broker, say."""
    LIQUIDATION = "LIQUIDATION"
    ASSIGNMENT = "ASSIGNMENT"
    EXERCISE = "EXERCISE"
    SETTLEMENT = "SETTLEMENT"


class AdjustmentKind(StrEnum):
    """What changed an account without a trade."""

    OPENING = "OPENING"
    """What it held when its log began: a position, or cash."""
    TRANSFER = "TRANSFER"
    """A position, or cash, that came in (positive) or went out."""
    SPLIT = "SPLIT"
    """``split_to`` new units for ``split_from`` old ones."""
    FUNDING = "FUNDING"
    DIVIDEND = "DIVIDEND"
    FEE = "FEE"
    """Charged for something else than a fill; negative if refunded."""
    CASH = "CASH"
    """A correction of the cash."""


class CollarSide(StrEnum):
    """Which prices the collar is about."""

    HARMFUL = "HARMFUL"
    """Buying too dear, selling too cheap."""
    BOTH = "BOTH"


class OrdStatus(StrEnum):
    """FIX OrdStatus (39), and two of ours: CREATED (not sent yet) and DENIED (our risk checks denied it)."""

    CREATED = "CREATED"
    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    DENIED = "DENIED"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    DONE_FOR_DAY = "DONE_FOR_DAY"
    PENDING_CANCEL = "PENDING_CANCEL"
    PENDING_REPLACE = "PENDING_REPLACE"


class PendingRequest(StrEnum):
    """What was requested of the broker and not answered yet: the second axis of an order's state."""

    NONE = "NONE"
    CANCEL = "CANCEL"
    REPLACE = "REPLACE"


class ExecType(StrEnum):
    """FIX ExecType (150): what a broker reports. For the two rejections FIX has a separate message (35=9)."""

    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    TRADE = "TRADE"
    TRADE_CANCEL = "TRADE_CANCEL"
    TRADE_CORRECT = "TRADE_CORRECT"
    PENDING_CANCEL = "PENDING_CANCEL"
    CANCELED = "CANCELED"
    CANCEL_REJECTED = "CANCEL_REJECTED"
    PENDING_REPLACE = "PENDING_REPLACE"
    REPLACED = "REPLACED"
    REPLACE_REJECTED = "REPLACE_REJECTED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    DONE_FOR_DAY = "DONE_FOR_DAY"
    SUSPENDED = "SUSPENDED"
    RESTATED = "RESTATED"


class TradingState(StrEnum):
    """What an account may do: trade, only make its positions smaller, or only cancel."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most ``count`` in any ``interval_s`` seconds."""

    count: Count
    interval_s: Count


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The limits of an account, or of one symbol in it; what is absent is not limited."""

    max_quantity: Amount | None = None
    """Of one order."""
    max_notional: Amount | None = None
    """Of one order: quantity * price * multiplier, in the quote currency."""
    price_collar: Amount | None = None
    """How far a price may be from the last price, as a fraction of it: 0.05 is five percent."""
    price_collar_side: CollarSide = CollarSide.HARMFUL
    max_position: Amount | None = None
    """Of one symbol, long or short, if all its open orders on that side were filled."""
    max_open_orders: Count | None = None
    max_order_rate: Rate | None = None
    """Orders."""
    max_message_rate: Rate | None = None
    """Orders, replaces and cancels; a cancel counts but always passes."""
    max_daily_loss: Amount | None = None
    """Realised today (UTC), less fees, in each quote currency; a fee in a third currency is compared by itself."""
    max_unrealized_loss: Amount | None = None
    """Of what is held, at the last prices, in each quote currency."""
    reduce_only: bool = False
    allowed_symbols: tuple[Symbol, ...] | None = None
    """Only for an account."""
    duplicate_window_s: Count | None = None
    """An order that equals one of its strategy in the last so many seconds, except for its id, counts as a mistake."""
    price_age_max_s: Count | None = None
    """A last price older than that is stale: market orders are denied."""


def is_account(text: str) -> bool:
    return _ACCOUNT.match(text) is not None


def as_reason(text: str | None) -> str | None:
    """As much of a text as fits into a reason, on one line. None: it says nothing."""
    return "".join(c if c.isprintable() else " " for c in text or "")[:REASON_LENGTH_MAX] or None


def canonical(value: Decimal) -> Decimal:
    """The same finite amount without trailing zeros and without an exponent, so that its ``str`` is plain."""
    if value.same_quantum(ONE):
        return value  # an integer without an exponent
    normal = value.normalize(EXACT)
    # as_tuple().exponent would build the digits, which takes longer than all of this.
    return normal.quantize(ONE, context=EXACT) if normal == normal.to_integral_value() else normal


def add(a: Decimal, b: Decimal) -> Decimal:
    return _trimmed(_add(a, b))


def subtract(a: Decimal, b: Decimal) -> Decimal:
    return _trimmed(_subtract(a, b))


_add, _subtract, _multiply = EXACT.add, EXACT.subtract, EXACT.multiply


def add_product(a: Decimal, b: Decimal, c: Decimal) -> Decimal:
    """a + b * c"""
    return _trimmed(_add(a, _multiply(b, c)))


def _trimmed(value: Decimal) -> Decimal:
    """``canonical`` of a result of canonical amounts, in half the time: it has no positive exponent."""
    if value.same_quantum(ONE):
        return value
    normal = value.normalize(EXACT)
    return normal if normal.same_quantum(value) else canonical(normal)


def average(cost: Decimal, quantity: Decimal, multiplier: Decimal = ONE) -> Decimal:
    """Cost per unit: ``cost / (quantity * multiplier)``, rounded once, half to even, to 18 digits after the point.

    0 while the quantity is 0, as FIX AvgPx (6). The same in SQL: ``trading.average``.
    """
    return quotient(cost, QUOTIENTS.multiply(quantity, multiplier), AVERAGE_DIGITS) if quantity else ZERO


def quotient(dividend: Decimal, divisor: Decimal, digits: int) -> Decimal:
    """Rounded once, half to even, to so many digits after the point. The same in SQL: ``trading.quotient``."""
    # quantize would round a quotient that the context has already rounded.
    whole, rest = QUOTIENTS.divmod(QUOTIENTS.scaleb(dividend.copy_abs(), digits), divisor.copy_abs())
    over = QUOTIENTS.compare(QUOTIENTS.add(rest, rest), divisor.copy_abs())
    if over > 0 or (over == 0 and whole.as_tuple().digits[-1] % 2):
        whole = QUOTIENTS.add(whole, ONE)
    found = canonical(QUOTIENTS.scaleb(whole, -digits))
    return found if dividend.is_signed() is divisor.is_signed() or not found else found.copy_negate()


def unit_cost(price: Decimal, multiplier: Decimal | None, kind: InstrumentKind) -> Decimal:
    """What one unit of quantity costs: ``price * multiplier``, exact.

    An inverse contract is paid for in its base currency, in which the quote currency becomes cheaper while the price
    rises: one unit costs ``-multiplier / price``, rounded half to even to 36 digits after the point, so that buying low
    and selling high is a profit. At a price of 0 it costs nothing. The same in SQL: ``trading.unit_cost``.
    """
    if kind is _INVERSE:
        return quotient(QUOTIENTS.minus(multiplier or ONE), price, UNIT_COST_DIGITS) if price else ZERO
    return price if multiplier is None else _multiply(price, multiplier)


_INVERSE = InstrumentKind.INVERSE
