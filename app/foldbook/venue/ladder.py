"""The orders of a book that many accounts share, by price.

It finds what a price reaches without looking at all orders, and the order of another account that an incoming one meets
first. A book of one account, as in a backtest, has none: there every order is looked at, which is faster for a few.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TypeAlias

from foldbook.trading.values import ZERO, Side, add
from foldbook.venue.working import Working

Rung: TypeAlias = tuple[Decimal, int, Working]
"""How good the price is (more is better), the number, negated, and the order: the best comes last."""


class Ladder:
    """``place`` puts an order where it belongs, ``lift`` takes it away. An order that changed is lifted and placed
    again."""

    def __init__(self) -> None:
        self._buys: list[Rung] = []
        """Limit orders that may rest; likewise the next."""
        self._sells: list[Rung] = []
        self._rising: list[Rung] = []
        """Stops that a rising price reaches."""
        self._falling: list[Rung] = []
        self._restless: dict[int, Working] = {}
        """Orders that every price does something to: they take, follow, or are canceled if they get nothing."""

    # -- its orders ----------------------------------------------------------------------------------------------

    def place(self, of: Working) -> None:
        if of.is_for_auction:
            return  # Only bars have an opening and a close, and those look at all orders.
        if of.is_waiting:
            if of.stop_price is None or of.order.trailing_offset is not None:
                self._restless[of.number] = of
            elif of.is_buy:
                self._put(self._rising, of.stop_price.copy_negate(), of)
            else:
                self._put(self._falling, of.stop_price, of)
            return
        if of.takes or of.is_immediate:
            self._restless[of.number] = of
        if of.limit_price is not None and not of.is_immediate:
            if of.is_buy:
                self._put(self._buys, of.limit_price, of)
            else:
                self._put(self._sells, of.limit_price.copy_negate(), of)

    def _put(self, rungs: list[Rung], goodness: Decimal, of: Working) -> None:
        rung = (goodness, -of.number, of)
        insort(rungs, rung)
        of.rungs, of.rung = rungs, rung

    def lift(self, of: Working) -> None:
        self._restless.pop(of.number, None)
        rungs = of.rungs
        if rungs is not None:
            assert of.rung is not None
            del rungs[bisect_left(rungs, of.rung)]
            of.rungs = of.rung = None

    def place_again(self, open_orders: Mapping[str, Working], changed: Iterable[Working]) -> None:
        """These may have changed, or ended."""
        for of in changed:
            if open_orders.get(of.order.order_id) is of:
                self.lift(of)
                self.place(of)

    # -- what it finds -------------------------------------------------------------------------------------------

    def reached(self, ask: Decimal, bid: Decimal) -> list[Working]:
        """The orders to which something happens at these prices, in order of arrival."""
        found: dict[int, Working] = {}
        buys, sells, rising, falling = self._buys, self._sells, self._rising, self._falling
        if buys and buys[-1][0] >= ask:
            _gather(buys, ask, found)
        if falling and falling[-1][0] >= bid:
            _gather(falling, bid, found)
        if sells and sells[-1][0] >= (goodness := bid.copy_negate()):
            _gather(sells, goodness, found)
        if rising and rising[-1][0] >= (goodness := ask.copy_negate()):
            _gather(rising, goodness, found)
        if self._restless:
            found |= self._restless
        return [found[number] for number in sorted(found)] if len(found) > 1 else list(found.values())

    def is_crossed_by(self, of: Working) -> bool:
        """Does the order reach the best price on the other side, whoever's it is?"""
        rungs = self._sells if of.is_buy else self._buys
        if not rungs:
            return False
        price = rungs[-1][2].limit_price
        return price is not None and of.reaches(price)

    def against(self, of: Working, bound: Decimal | None) -> Iterator[Working]:
        """The orders of other accounts that this one may trade with, in order of price and time. ``bound``: the worst
        price, beside its own limit."""
        account = of.order.account
        for _, _, other in reversed(self._sells if of.is_buy else self._buys):
            price = other.limit_price
            assert price is not None
            if not of.reaches(price) or (bound is not None and (price > bound if of.is_buy else price < bound)):
                return
            if other.order.account != account:
                yield other

    def best_for(self, side: Side, account: str, limit: Decimal | None = None) -> Decimal | None:
        """The best price at which orders of other accounts let the account buy, or sell. None: there is none, or none
        within the limit."""
        is_buy = side is Side.BUY
        for _, _, other in reversed(self._sells if is_buy else self._buys):
            price = other.limit_price
            assert price is not None
            if limit is not None and (price > limit if is_buy else price < limit):
                return None
            if other.order.account != account:
                return price
        return None


def available(ladder: Ladder, of: Working, bound: Decimal | None) -> Decimal:
    """How much it could get from other accounts for sure."""
    found = ZERO
    for other in ladder.against(of, bound):
        if not other.order.reduce_only:
            found = add(found, other.leaves_qty)
    return found


def _gather(rungs: list[Rung], goodness: Decimal, found: dict[int, Working]) -> None:
    """Those that are at least so good."""
    for rung in reversed(rungs):
        if rung[0] < goodness:
            return
        found[rung[2].number] = rung[2]
