"""Instruments: what they are, what is guessed of a symbol, and what an order may ask for in them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from foldbook.errors import Refusal
from foldbook.trading.commands import DefineInstrument, PlaceOrder
from foldbook.trading.events import InstrumentDefined, OrderCreated, OrderDenied, OrderFilled
from foldbook.trading.instrument import UNKNOWN
from foldbook.trading.order import Order
from foldbook.trading.values import InstrumentKind, OrderType, Side, TimeInForce
from tests.builders import ACCOUNT, NOW, amounts, open_account, place, replace_order, report, trade
from tests.trading.lives import Life
from tests.trading.test_reports import bust, figures, order_of


def define(symbol: str, **fields: Any) -> DefineInstrument:
    return DefineInstrument(command_id=uuid7(), received_at=NOW, account=ACCOUNT, symbol=symbol, **fields)


def life_of(*commands: Any) -> Life:
    life = Life()
    for command in (open_account(), *commands):
        life.execute(command)
    return life


@pytest.mark.parametrize(
    ("symbol", "currencies"),
    [
        ("BTC-USDT", ("BTC", "USDT")),
        ("BTC/USDT", ("BTC", "USDT")),
        ("EUR/USD", ("EUR", "USD")),
        ("BTC-PERPETUAL", (None, None)),
        ("BTC/USDT:USDT", (None, None)),
        ("BRK-B", (None, None)),
        ("ES=F", (None, None)),
        ("BTC-USD-240628", (None, None)),
        ("USD-USD", (None, None)),
        ("AAPL", (None, None)),
    ],
)
def test_only_a_pair_of_known_currencies_is_guessed(symbol: str, currencies: tuple[str | None, str | None]) -> None:
    instrument = life_of().book.instrument(symbol)
    assert (instrument.base_currency, instrument.quote_currency) == currencies
    assert (instrument == UNKNOWN) is (currencies == (None, None))


def perpetual(kind: str) -> DefineInstrument:
    return define("BTC-PERPETUAL", kind=InstrumentKind(kind), base_currency="BTC", quote_currency="USD")


@pytest.mark.parametrize(
    ("definition", "quantity"),
    [
        ((), "10"),
        ((perpetual("PERPETUAL"),), "10"),
        ((perpetual("INVERSE"),), "10"),
        ((perpetual("FUTURE"),), "10"),
        ((perpetual("SPOT"),), "9.99999917"),
    ],
)
def test_only_a_fee_in_the_base_currency_of_a_spot_instrument_changes_the_quantity(
    definition: tuple[Any, ...], quantity: str
) -> None:
    fee: dict[str, Any] = {"fee": Decimal("0.00000083"), "fee_currency": "BTC"}
    life = life_of(*definition, place(symbol="BTC-PERPETUAL", quantity="10"), trade("e-1", "10", **fee))
    assert life.book.position_qty("BTC-PERPETUAL") == Decimal(quantity)


def test_an_inverse_contract_is_settled_in_its_base_currency() -> None:
    life = life_of(
        perpetual("INVERSE"),
        place(symbol="BTC-PERPETUAL", quantity="10000"),
        trade("e-1", "10000", "40000"),
    )
    position = life.book.positions["BTC-PERPETUAL"]
    assert (position.cost, position.avg_px) == amounts("-0.25", 40000)
    assert position.unrealized_pnl(Decimal(50000)) == Decimal("0.05")
    life.execute(place("o-2", symbol="BTC-PERPETUAL", quantity="10000", side=Side.SELL))
    life.execute(trade("e-2", "10000", "50000", order_id="o-2"))
    assert life.book.positions["BTC-PERPETUAL"].realized_pnl == Decimal("0.05")


def test_a_late_report_on_an_old_fill_does_not_describe_the_position() -> None:
    life = life_of(
        place("o-1", symbol="ES", quantity="1"),
        trade("e-1", "1", order_id="o-1"),
        place("o-2", symbol="ES", quantity="1", side=Side.SELL),
        trade("e-2", "1", order_id="o-2"),
        define("ES", kind=InstrumentKind.FUTURE, multiplier=Decimal(50)),
        place("o-3", symbol="ES", quantity="2"),
        trade("e-3", "2", order_id="o-3"),
    )
    life.execute(report("TRADE_CORRECT", "o-1", exec_id="c-1", exec_ref_id="e-1", fee=Decimal(1), fee_currency="USD"))
    position = life.book.positions["ES"]
    assert (position.quantity, position.multiplier, position.avg_px) == amounts(2, 50, 100)


def test_an_unknown_currency_can_be_put_right_while_there_is_a_position() -> None:
    life = life_of(place(symbol="ES=F", quantity="2"), trade("e-1", "2"))
    (event,) = life.execute(define("ES=F", quote_currency="USD"))
    assert isinstance(event, InstrumentDefined)
    assert event.put_right == ("quote_currency",)
    (busted,) = life.execute(bust("b-1", "e-1"))
    assert getattr(busted, "quote_currency", None) == "USD"
    with pytest.raises(Refusal, match="multiplier of ES=F cannot change"):
        life.execute(trade("e-2", "1"))
        life.execute(define("ES=F", quote_currency="USD", multiplier=Decimal(50)))


def test_what_was_never_traded_has_nothing_to_put_right() -> None:
    (event,) = life_of().execute(define("ES=F", quote_currency="USD"))
    assert isinstance(event, InstrumentDefined)
    assert event.put_right == ()


@pytest.mark.parametrize("price", ["0", "-5.5"])
def test_an_order_may_ask_for_a_price_of_zero_or_below_if_the_instrument_allows_it(price: str) -> None:
    order = place(symbol="CL", limit_price=Decimal(price))
    with pytest.raises(Refusal) as refused:
        life_of().execute(order)
    assert refused.value.details == {"field": "limit_price"}
    life = life_of(define("CL", allows_negative_prices=True), order)
    life.execute(replace_order(limit_price=Decimal(0) if price != "0" else Decimal(-1)))
    assert order_of(life).requested is not None


def test_after_its_expiry_an_instrument_takes_no_orders() -> None:
    life = life_of(define("ESZ5", kind=InstrumentKind.FUTURE, expiry=NOW))
    _, denied = life.execute(place(symbol="ESZ5"))
    assert isinstance(denied, OrderDenied)
    assert (denied.reason, denied.limit) == ("instrument-expired", "2026-01-02T03:04:05.678901Z")


def test_an_order_that_is_to_expire_in_the_past_is_denied() -> None:
    order = place(time_in_force=TimeInForce.GTD, expire_at=NOW - timedelta(seconds=1))
    _, denied = life_of().execute(order)
    assert isinstance(denied, OrderDenied)
    assert (denied.reason, denied.limit, denied.observed) == (
        "expired",
        "2026-01-02T03:04:05.678901Z",
        "2026-01-02T03:04:04.678901Z",
    )


# -- what an order can say ---------------------------------------------------------------------------------------


def test_without_an_id_an_order_has_that_of_its_command() -> None:
    command = place(None)
    (created,) = life_of().execute(command)
    assert isinstance(created, OrderCreated)
    assert created.order_id == command.subject == str(command.command_id)


def trailing(**fields: Any) -> PlaceOrder:
    return place(order_type=OrderType.STOP, limit_price=None, trailing_offset=Decimal(5), **fields)


@pytest.mark.parametrize(
    "command",
    [
        place(post_only=True),
        trailing(),
        trailing(stop_price=Decimal(95)),
        place(time_in_force=TimeInForce.AT_THE_OPENING),
        place(time_in_force=TimeInForce.AT_THE_CLOSE, order_type=OrderType.MARKET, limit_price=None),
        place(display_quantity=Decimal(1)),
        place(quantity="2", order_type=OrderType.MARKET_TO_LIMIT, limit_price=None),
    ],
)
def test_an_order_can_say(command: PlaceOrder) -> None:
    (created,) = life_of().execute(command)
    assert isinstance(created, OrderCreated)
    for name in ("post_only", "trailing_offset", "display_quantity", "time_in_force", "order_type"):
        assert getattr(created, name) == getattr(command, name)


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (place(post_only=True, order_type=OrderType.MARKET, limit_price=None), "post_only"),
        (place(post_only=True, time_in_force=TimeInForce.IOC), "post_only"),
        (place(trailing_offset=Decimal(5)), "trailing_offset"),
        (place(order_type=OrderType.STOP, limit_price=None, trailing_offset=Decimal(0)), "trailing_offset"),
        (place(display_quantity=Decimal(3)), "display_quantity"),
        (place(display_quantity=Decimal(0)), "display_quantity"),
        (place(cash_quantity=Decimal(100)), "cash_quantity"),
        (place(order_type=OrderType.MARKET_TO_LIMIT), "limit_price"),
    ],
)
def test_what_it_cannot_say(command: PlaceOrder, field: str) -> None:
    with pytest.raises(Refusal) as refused:
        life_of().execute(command)
    assert refused.value.details == {"field": field}


def for_money(cash: str = "1000", **fields: Any) -> PlaceOrder:
    command = {"symbol": "BTC-USDT", "order_type": OrderType.MARKET, "limit_price": None, **fields}
    placed = place(**command)
    values = {name: getattr(placed, name) for name in placed.__struct_fields__}
    return PlaceOrder(**{**values, "quantity": None, "cash_quantity": Decimal(cash)})


def test_an_order_for_money_is_filled_when_the_money_is_spent() -> None:
    life = life_of(for_money())
    assert order_of(life).leaves_cash == 1000
    assert life.book.orders["o-1"].is_open
    life.execute(trade("e-1", "4", "100"))
    assert figures(life) == ("PARTIALLY_FILLED", "0", "4", "0", "100")
    assert order_of(life).leaves_cash == 600
    life.execute(trade("e-2", "6", "100"))
    assert figures(life) == ("FILLED", "0", "10", "0", "100")
    assert "o-1" not in life.book.orders


def test_the_broker_may_say_how_much_the_money_is() -> None:
    life = life_of(for_money(), report("RESTATED", quantity=Decimal(9)), trade("e-1", "9", "110"))
    assert figures(life) == ("FILLED", "9", "9", "0", "110")


# -- a report is never refused for what the order is -------------------------------------------------------------


def order_after(*commands: Any) -> Order:
    return order_of(life_of(*commands))


def test_what_a_market_order_leaves_over_may_become_a_limit_order() -> None:
    market = place(order_type=OrderType.MARKET, limit_price=None)
    order = order_after(market, report("RESTATED", limit_price=Decimal(101)))
    assert order.limit_price == 101
    assert order_after(market, report("REPLACED", stop_price=Decimal(99))).stop_price == 99


def test_the_stop_of_an_order_may_move() -> None:
    order = order_after(trailing(), report("RESTATED", stop_price=Decimal(96)))
    assert order.stop_price == 96


def test_a_price_that_the_broker_gave_can_be_replaced() -> None:
    market = place(order_type=OrderType.MARKET, limit_price=None)
    life = life_of(market, report("RESTATED", limit_price=Decimal(101)), replace_order(limit_price=Decimal(102)))
    requested = order_of(life).requested
    assert requested is not None
    assert requested.limit_price == 102


@pytest.mark.parametrize("price", ["0", "-37.63"])
def test_a_fill_at_a_price_of_zero_or_below_is_a_fact(price: str) -> None:
    life = life_of(place(quantity="2"))
    (fill,) = life.execute(trade("e-1", "2", price))
    assert isinstance(fill, OrderFilled)
    assert life.book.positions["BTCUSDT"].cost == 2 * Decimal(price)


def test_a_fill_may_be_corrected_to_nothing() -> None:
    life = life_of(place(quantity="2"), trade("e-1", "2"))
    life.execute(report("TRADE_CORRECT", exec_id="c-1", exec_ref_id="e-1", last_qty=Decimal(0)))
    assert figures(life) == ("NEW", "2", "0", "2", "-")
    assert life.book.position_qty("BTCUSDT") == 0


def test_an_execution_of_no_quantity_may_carry_a_fee() -> None:
    life = life_of(place(quantity="2"))
    command = report("TRADE", exec_id="e-1", last_qty=Decimal(0), fee=Decimal(1), fee_currency="USD")
    (fill,) = life.execute(command)
    assert isinstance(fill, OrderFilled)
    assert life.execute(command) == ()
    assert figures(life) == ("NEW", "2", "0", "2", "-")
    assert dict(life.book.positions["BTCUSDT"].fees) == {"USD": 1}
