"""What a strategy may do, when, and with which amounts; and how it is told things."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from foldbook.market.records import Bar, Quote, Trade
from foldbook.strategies import (
    GroupKind,
    OrderEvent,
    OrderGroup,
    OrderType,
    Side,
    Strategy,
    StrategyError,
    TimeInForce,
)
from foldbook.strategies import binding as binding_module
from foldbook.strategies.context import OrderIntent
from tests.strategies.world import DAY, START, SYMBOL, World


class Doer(Strategy):
    """Does at the start what a test says, and writes down what it is told."""

    def on_start(self) -> None:
        self.told: list[str] = []

    def on_timer(self, name: str, time: datetime) -> None:
        self.told.append(f"timer {name}")
        self.act()

    def act(self) -> None: ...


def world_of(strategy: Doer) -> World:
    return World(strategy).start()


def doing(act: Any) -> World:
    """A world in which a strategy has done this in a callback."""
    strategy = Doer()
    strategy.act = lambda: act(strategy)  # type: ignore[method-assign]
    world = world_of(strategy)
    world.binding.timer("go", START)
    return world


# -- orders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prices", "order_type"),
    [
        ({}, OrderType.MARKET),
        ({"limit_price": "99.50"}, OrderType.LIMIT),
        ({"stop_price": 101}, OrderType.STOP),
        ({"limit_price": Decimal("99.5"), "stop_price": 101}, OrderType.STOP_LIMIT),
    ],
)
def test_the_prices_of_an_order_say_what_type_it_is(prices: dict[str, Any], order_type: OrderType) -> None:
    world = doing(lambda it: it.buy(SYMBOL, 2, **prices))
    assert world.intents["o1"] == OrderIntent(
        symbol=SYMBOL,
        side=Side.BUY,
        order_type=order_type,
        quantity=Decimal(2),
        limit_price=Decimal("99.5") if "limit_price" in prices else None,
        stop_price=Decimal(101) if "stop_price" in prices else None,
    )


def test_an_order_is_sent_as_it_was_wished() -> None:
    group = OrderGroup(kind=GroupKind.OCO, id="g-1")
    expire_at = START + DAY
    world = doing(
        lambda it: it.sell(
            SYMBOL,
            "0.50",
            limit_price="100",
            time_in_force="GTD",
            expire_at=expire_at,
            post_only=True,
            reduce_only=True,
            group=group,
        )
    )
    assert world.intents["o1"] == OrderIntent(
        symbol=SYMBOL,
        side=Side.SELL,
        order_type=OrderType.LIMIT,
        quantity=Decimal("0.5"),
        limit_price=Decimal(100),
        time_in_force=TimeInForce.GTD,
        expire_at=expire_at,
        post_only=True,
        reduce_only=True,
        group=group,
    )


def test_amounts_are_canonical() -> None:
    world = doing(lambda it: it.buy(SYMBOL, Decimal("1E+2"), limit_price="0099.500"))
    assert world.sent == ["BUY 100 LIMIT 99.5"]


@pytest.mark.parametrize(
    ("quantity", "error", "says"),
    [
        (1.5, TypeError, "quantity is 1.5, of type float; it must be an int, str or Decimal"),
        (True, TypeError, "of type bool"),
        (None, TypeError, "of type NoneType"),
        ("a lot", ValueError, "quantity is 'a lot', which is not a number"),
        (0, ValueError, "must be greater than 0"),
        (-1, ValueError, "the side is in buy and sell"),
        ("NaN", ValueError, "must be finite"),
        (Decimal(1) / 3, ValueError, "18 after it: round it"),
    ],
)
def test_a_quantity_is_exact_and_positive(quantity: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        doing(lambda it: it.buy(SYMBOL, quantity))


@pytest.mark.parametrize("name", ["limit_price", "stop_price"])
def test_a_price_is_no_float(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is 1.5"):
        doing(lambda it: it.buy(SYMBOL, 1, **{name: 1.5}))
    with pytest.raises(TypeError, match=f"{name} is 1.5"):
        doing(lambda it: it.replace("o1", **{name: 1.5}))


def test_an_order_has_an_expiry_if_it_is_good_till_a_date() -> None:
    with pytest.raises(ValueError, match="GTD needs expire_at"):
        doing(lambda it: it.buy(SYMBOL, 1, time_in_force="GTD"))
    with pytest.raises(ValueError, match="no other has one"):
        doing(lambda it: it.buy(SYMBOL, 1, expire_at=START))
    with pytest.raises(ValueError, match="without a time zone"):
        doing(lambda it: it.buy(SYMBOL, 1, time_in_force="GTD", expire_at=START.replace(tzinfo=None)))
    with pytest.raises(ValueError, match="'SOON' is not a valid TimeInForce"):
        doing(lambda it: it.buy(SYMBOL, 1, time_in_force="SOON"))


LONG = "12345678901234567890.123456789012345678"
"""An amount with as many digits as one may have, more than a ``Decimal`` usually computes with."""


@pytest.mark.parametrize(
    ("held", "sent"),
    [
        ("3", ["SELL 3 MARKET"]),
        ("-0.5", ["BUY 0.5 MARKET"]),
        ("0", []),
        (LONG, [f"SELL {LONG} MARKET"]),
        (f"-{LONG}", [f"BUY {LONG} MARKET"]),
    ],
)
def test_close_sends_what_makes_the_position_flat(held: str, sent: list[str]) -> None:
    strategy = Doer()
    answers: list[str | None] = []
    strategy.act = lambda: answers.append(strategy.close(SYMBOL))  # type: ignore[method-assign]
    world = world_of(strategy)
    world.held[SYMBOL] = Decimal(held)
    world.binding.timer("go", START)
    assert world.sent == sent
    assert answers == ["o1" if sent else None]


def test_a_replace_says_what_changes() -> None:
    def act(it: Strategy) -> None:
        it.buy(SYMBOL, 1, limit_price=99)
        it.replace("o1", quantity=2, limit_price="98.50")
        it.cancel("o1")

    assert doing(act).sent == ["BUY 1 LIMIT 99", "replace o1 2 98.5 None", "cancel o1"]
    with pytest.raises(ValueError, match="a replace of o1 needs quantity=, limit_price= or stop_price="):
        doing(lambda it: it.replace("o1"))


# -- what it sees --------------------------------------------------------------------------------------------------


def test_it_sees_its_world() -> None:
    seen: list[object] = []

    def act(it: Strategy) -> None:
        it.buy(SYMBOL, 1)
        seen.extend([it.now, it.account, it.symbols, it.cash, it.equity, it.position(SYMBOL), it.last_price(SYMBOL)])
        seen.append([order.order_id for order in it.orders()])
        seen.append(it.orders("ETH-USDT"))

    doing(act)
    cash = Decimal(10000)
    assert seen == [START, "alice/binance/backtest", (SYMBOL,), cash, cash, Decimal(0), None, ["o1"], ()]


def test_history_is_bounded() -> None:
    with pytest.raises(ValueError, match="history of 1001 bars: from 1 to 1000"):
        doing(lambda it: it.history(SYMBOL, 1001))
    with pytest.raises(ValueError, match="history of 0 bars"):
        doing(lambda it: it.history(SYMBOL, 0))


def test_history_ends_with_the_bar_that_closed() -> None:
    class Closes(Strategy):
        def on_start(self) -> None:
            self.seen: list[list[Decimal]] = []

        def on_bar(self, bar: Bar) -> None:
            self.seen.append([each.close for each in self.history(bar.symbol, 2)])

    strategy = Closes()
    World(strategy).start().closes(1, 2, 3)
    assert strategy.seen == [[1], [1, 2], [2, 3]]


# -- timers --------------------------------------------------------------------------------------------------------


def test_timers_are_set_and_canceled() -> None:
    def act(it: Strategy) -> None:
        it.set_timer("once", at=START + DAY)
        it.set_timer("often", every=timedelta(hours=1))
        it.set_timer("gone", every=DAY)
        it.cancel_timer("gone")

    assert doing(act).timers == {"once": (START + DAY, None), "often": (None, timedelta(hours=1))}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "timer 't' needs at=, every=, or both"),
        ({"every": timedelta(0)}, "every must be greater than 0"),
        ({"at": datetime(2026, 1, 1)}, "at is 2026-01-01 00:00:00, without a time zone"),  # noqa: DTZ001
    ],
)
def test_a_timer_that_cannot_be_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        doing(lambda it: it.set_timer("t", **given))


# -- when it may act -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "act",
    [
        lambda it: it.now,
        lambda it: it.equity,
        lambda it: it.position(SYMBOL),
        lambda it: it.buy(SYMBOL, 1),
        lambda it: it.close(SYMBOL),
        lambda it: it.cancel("o1"),
        lambda it: it.history(SYMBOL, 1),
        lambda it: it.set_timer("t", every=DAY),
    ],
)
def test_outside_a_callback_it_neither_sees_nor_acts(act: Any) -> None:
    strategy = Doer()
    with pytest.raises(StrategyError, match="Doer is not being told anything"):
        act(strategy)
    world_of(strategy)
    with pytest.raises(StrategyError, match="only in its callbacks"):
        act(strategy)


def test_a_strategy_has_no_init_of_its_own() -> None:
    with pytest.raises(StrategyError, match="Eager has an __init__; what it does belongs into on_start"):

        class Eager(Strategy):
            def __init__(self) -> None: ...


# -- how it is told ------------------------------------------------------------------------------------------------


class Listener(Strategy):
    """Writes down what it is told; told of the timer, it sends an order, and for every event up to ``answers`` more."""

    answers: int = 0

    def on_start(self) -> None:
        self.told = ["start"]

    def on_stop(self) -> None:
        self.told.append("stop")

    def on_open(self, symbol: str, price: Decimal, time: datetime) -> None:
        self.told.append(f"open {symbol} {price}")

    def on_bar(self, bar: Bar) -> None:
        self.told.append(f"bar {bar.close}")

    def on_quote(self, quote: Quote) -> None:
        self.told.append(f"quote {quote.bid}")

    def on_trade(self, trade: Trade) -> None:
        self.told.append(f"trade {trade.price}")

    def on_timer(self, name: str, time: datetime) -> None:
        self.told.append(f"timer {name}")
        self.buy(SYMBOL, 1)
        self.told.append("timer is over")

    def on_order_event(self, event: OrderEvent) -> None:
        self.told.append(f"{type(event).__name__} {event.order_id}")
        if len(self.told) < self.answers:
            self.buy(SYMBOL, 1)


class FillsAtOnce(World):
    """A world in which an order is filled while it is sent."""

    def place(self, intent: OrderIntent) -> str:
        order_id = super().place(intent)
        self.fill(order_id, "100")
        return order_id


def test_it_is_told_everything() -> None:
    strategy = Listener()
    world = World(strategy).start()
    world.bar("1", "3", "1", "2")
    world.binding.quote(Quote(SYMBOL, START, "5", "6"))
    world.binding.trade(Trade(SYMBOL, START, "7"))
    world.binding.stop()
    assert strategy.told == ["start", f"open {SYMBOL} 1", "bar 2", "quote 5", "trade 7", "stop"]


def test_what_its_order_causes_is_told_when_the_callback_is_over() -> None:
    strategy = Listener(answers=6)
    FillsAtOnce(strategy).start().binding.timer("t", START)
    assert strategy.told == [
        "start",
        "timer t",
        "timer is over",
        "OrderFilled o1",
        "OrderFilled o2",
        "OrderFilled o3",
    ]


def test_a_strategy_that_answers_itself_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding_module, "CASCADE_MAX", 10)
    strategy = Listener(answers=1_000_000)
    world = FillsAtOnce(strategy).start()
    with pytest.raises(StrategyError, match="Listener answers its own events without end: 10 at 2026-01-05"):
        world.binding.timer("t", START)
    assert len(strategy.told) == 3 + 10


def test_what_it_raises_passes_through_and_what_waited_is_forgotten() -> None:
    class Breaks(Listener):
        def on_quote(self, quote: Quote) -> None:
            self.buy(SYMBOL, 1)
            raise ZeroDivisionError

    strategy = Breaks()
    world = FillsAtOnce(strategy).start()
    with pytest.raises(ZeroDivisionError):
        world.binding.quote(Quote(SYMBOL, START, "5", "6"))
    world.binding.stop()
    assert strategy.told == ["start", "stop"]
    with pytest.raises(StrategyError, match="only in its callbacks"):
        strategy.cancel("o1")


def test_a_runner_knows_what_a_strategy_hears() -> None:
    deaf, listener = World(Doer()).binding, World(Listener()).binding
    for name in ("hears_opens", "hears_bars", "hears_quotes", "hears_trades", "hears_order_events"):
        assert getattr(listener, name) is True
        assert getattr(deaf, name) is False
