"""The exchange: accounts and their orders, client ids, sessions, and what the operator does."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foldbook.trading.values import ZERO, ExecType, OrdStatus
from foldbook.venue import exchange as module
from foldbook.venue.messages import (
    BarTold,
    Bust,
    Cancel,
    Charge,
    CloseSession,
    Correct,
    Expire,
    Fund,
    InstrumentTold,
    Liquidate,
    OpenSession,
    RefuseLate,
    Replace,
)
from foldbook.venue.records import Kind
from tests.venue.exchanging import SYMBOL, exchange, fills, quote, submit, told, trade

# -- client order ids --------------------------------------------------------------------------------------------------


def test_a_client_order_id_is_one_order() -> None:
    venue = exchange(quote(1, "99", "101"))
    first = venue.apply(submit("a", "o", "BUY", limit_price="50"))
    again = venue.apply(submit("a", "o", "SELL", "7", limit_price="500"))
    assert again.order is first.order and again.is_duplicate and again.reports == []
    assert len(venue.orders) == 1


def test_a_client_order_id_is_one_order_after_it_has_ended() -> None:
    venue = exchange(submit("a", "o", "BUY", limit_price="50"), Cancel(2, "a", "o"))
    again = venue.apply(submit("a", "o", "BUY", limit_price="50"))
    assert again.is_duplicate and again.order is not None and again.order.status is OrdStatus.CANCELED


def test_each_account_has_client_order_ids_of_its_own() -> None:
    venue = exchange(submit("a", "o", "BUY", limit_price="50"), submit("b", "o", "BUY", limit_price="50"))
    assert [order.account for order in venue.orders.values()] == ["a", "b"]


def test_without_deduplication_a_second_order_is_taken() -> None:
    venue = exchange(submit("a", "o", "BUY", limit_price="50"))
    second = venue.apply(submit("a", "o", "BUY", limit_price="50", is_deduplicated=False))
    assert told(second) == [("a", "o", "NEW")] and not second.is_duplicate
    assert second.order is not None and second.order.venue_order_id == "v2"
    venue.apply(Cancel(2, "a", "o"))
    assert [order.is_open for order in venue.orders.values()] == [True, False]  # the latest open one
    venue.apply(Cancel(3, "a", "o"))
    assert venue.apply(Cancel(4, "a", "o")).refusal == "order-not-open"


# -- orders ------------------------------------------------------------------------------------------------------------


def test_a_rejected_order_is_remembered() -> None:
    venue = exchange()
    answer = venue.apply(submit("a", "o", "BUY"))
    assert answer.refusal == "order-rejected" and answer.reason == "no price of X is known: nobody quotes it"
    assert told(answer) == [("a", "o", "REJECTED")]
    assert venue.orders[1].status is OrdStatus.REJECTED and venue.orders[1].reason == answer.reason


def test_what_is_not_open_is_neither_canceled_nor_replaced() -> None:
    venue = exchange(submit("a", "o", "BUY", limit_price="50"), Cancel(2, "a", "o", "r-1"))
    canceled, replaced = venue.apply(Cancel(3, "a", "o", "r-2")), venue.apply(Replace(3, "a", "o", "r-3"))
    assert canceled.refusal == replaced.refusal == "order-not-open"
    assert [(each.exec_type, each.request_id) for each in (*canceled.reports, *replaced.reports)] == [
        (ExecType.CANCEL_REJECTED, "r-2"),
        (ExecType.REPLACE_REJECTED, "r-3"),
    ]
    assert venue.apply(Cancel(3, "a", "never")).refusal == "unknown-order"
    assert venue.apply(Cancel(3, "nobody", "o")).refusal == "unknown-order"


def test_a_replace_keeps_the_id_or_moves_it() -> None:
    venue = exchange(submit("a", "o", "BUY", limit_price="50"))
    (kept,) = venue.apply(Replace(2, "a", "o", "r", limit_price=Decimal(51))).reports
    assert (kept.exec_type, kept.venue_order_id, kept.limit_price) == (ExecType.REPLACED, "v1", Decimal(51))
    moved = venue.apply(Replace(3, "a", "o", "r", limit_price=Decimal(52), moves_id=True)).reports
    assert [(each.exec_type, each.venue_order_id) for each in moved] == [
        (ExecType.REPLACED, "v1.1"),
        (ExecType.CANCELED, "v1"),
    ]
    order = venue.order_of("v1.1")
    assert order is not None and order is venue.order_of("v1") and order.is_open and order.status is OrdStatus.NEW
    assert [venue.order_of(unknown) for unknown in ("v1.2", "v1.", "v1.01", "v2")] == [None] * 4
    (filled,) = venue.apply(quote(4, "40", "45")).reports
    assert filled.venue_order_id == "v1.1"


def test_a_refused_replace_changes_nothing() -> None:
    venue = exchange(submit("a", "o", "BUY", limit_price="50"))
    answer = venue.apply(Replace(2, "a", "o", "r", stop_price=Decimal(51), moves_id=True))
    assert answer.refusal == "replace-rejected" and answer.reason is not None
    assert [each.exec_type for each in answer.reports] == [ExecType.REPLACE_REJECTED]
    assert venue.orders[1].venue_order_id == "v1" and venue.orders[1].is_open


def test_an_order_that_is_refused_late_trades_nothing() -> None:
    venue = exchange(quote(1, "99", "101"))
    taken = venue.apply(submit("a", "o", "BUY", limit_price="200", is_refused_late=True))
    assert told(taken) == [("a", "o", "NEW")]
    assert venue.apply(quote(2, "99", "101")).reports == []
    assert told(venue.apply(RefuseLate(3, "v1"))) == [("a", "o", "REJECTED")]
    assert venue.orders[1].status is OrdStatus.REJECTED and not venue.orders[1].is_held
    assert venue.apply(RefuseLate(4, "v1")).reports == []


def test_an_order_that_is_to_be_refused_late_can_be_canceled_first() -> None:
    venue = exchange(submit("a", "o", "BUY", limit_price="200", is_refused_late=True))
    assert told(venue.apply(Cancel(2, "a", "o"))) == [("a", "o", "CANCELED")]
    assert venue.apply(RefuseLate(3, "v1")).reports == []


def test_orders_good_till_a_time_expire_without_market_data() -> None:
    venue = exchange(submit("a", "o", "BUY", limit_price="50", time_in_force="GTD", expire_at_ns=10))
    assert venue.matching.next_expiry_ns() == 10
    assert venue.apply(Expire(9)).reports == []
    assert told(venue.apply(Expire(10))) == [("a", "o", "EXPIRED")]


def test_the_oldest_of_the_closed_orders_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSED_MAX", 2)
    venue = exchange(submit("a", "kept open", "BUY", limit_price="50"))
    for number in range(4):
        venue.apply(submit("a", f"o{number}", "BUY", limit_price="50"))
        venue.apply(Replace(2, "a", f"o{number}", None, limit_price=Decimal(49), moves_id=True))
        venue.apply(Cancel(3, "a", f"o{number}"))
    account = venue.accounts["a"]
    assert [order.client_order_id for order in venue.orders.values()] == ["kept open", "o2", "o3"]
    assert list(account.orders) == list(venue.orders) and list(account.by_client_id) == ["kept open", "o2", "o3"]
    assert list(venue.by_key) == ["v1", "v4", "v5"]
    assert not venue.apply(submit("a", "o0", "BUY", limit_price="50")).is_duplicate


def test_the_oldest_fills_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILLS_MAX", 10)
    venue = exchange()
    for number in range(12):
        venue.apply(Fund(number, "ab"[number % 2], SYMBOL, "USD", Decimal(1)))
    assert [fill.seq for fill in venue.fills] == list(range(3, 13)) and venue.fills_dropped_seq == 2
    assert [fill.seq for fill in venue.accounts["a"].fills] == [3, 5, 7, 9, 11]
    assert venue.accounts["a"].cash == {"USD": Decimal(6)}


def test_there_is_room_for_so_many_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACCOUNTS_MAX", 1)
    venue = exchange(submit("a", "o", "BUY", limit_price="50"))
    for message in (
        submit("b", "o", "BUY", limit_price="50"),
        Fund(1, "b", SYMBOL, "USD", Decimal(1)),
        Charge(1, "b", "USD", Decimal(1)),
    ):
        assert venue.apply(message).refusal == "venue-full"
    assert list(venue.accounts) == ["a"]
    assert told(venue.apply(submit("a", "p", "BUY", limit_price="50"))) == [("a", "p", "NEW")]


# -- positions and cash ------------------------------------------------------------------------------------------------


def test_cash_is_what_came_in_less_what_went_out() -> None:
    venue = exchange(
        InstrumentTold(1, SYMBOL, multiplier=Decimal(5), quote_currency="EUR"), quote(1, "99", "101"), taker="0.01"
    )
    venue.apply(submit("a", "o", "BUY", "2", at=1))
    assert venue.accounts["a"].cash == {"EUR": Decimal("-1020.1")}  # 2 * 101 * 5, and one percent of it
    assert venue.matching.positions_of("a") == {SYMBOL: Decimal(2)}
    venue.apply(submit("a", "p", "SELL", "2", at=1))
    assert venue.accounts["a"].cash == {"EUR": Decimal(-40)}  # 990 - 9.9 came in
    assert venue.matching.positions_of("a") == {}


def test_reduce_only_looks_at_the_accounts_own_position() -> None:
    venue = exchange(quote(1, "99", "101"))
    venue.apply(submit("a", "o", "BUY", "2", at=1))
    assert venue.apply(submit("b", "o", "SELL", "2", at=1, reduce_only=True)).refusal == "order-rejected"
    assert fills(venue.apply(submit("a", "p", "SELL", "5", at=1, reduce_only=True))) == [("a", "p", "2", "99")]


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_while_the_session_is_closed_nothing_trades() -> None:
    venue = exchange(
        quote(1, "99", "101"),
        submit("a", "day", "BUY", limit_price="100", time_in_force="DAY"),
        submit("a", "gtc", "BUY", limit_price="100"),
    )
    assert told(venue.apply(CloseSession(2))) == [("a", "day", "EXPIRED")]
    for order_id, fields in {"m": {}, "ioc": {"limit_price": "100", "time_in_force": "IOC"}}.items():
        refused = venue.apply(submit("a", order_id, "BUY", at=3, **fields))
        assert refused.refusal == "order-rejected" and refused.reason is not None
        assert refused.reason.startswith("the session is closed")
    assert told(venue.apply(submit("b", "gtc", "SELL", at=3, limit_price="100"))) == [("b", "gtc", "NEW")]
    for datum in (quote(4, "90", "91"), trade(4, "80")):
        assert venue.apply(datum).reports == []


def test_when_the_session_opens_orders_meet_as_if_they_arrived_then() -> None:
    venue = exchange(
        CloseSession(1),
        submit("a", "o", "BUY", "3", limit_price="100"),
        submit("b", "o", "SELL", "2", limit_price="98"),
        submit("c", "o", "SELL", "2", limit_price="99"),
    )
    opened = venue.apply(OpenSession(5))
    assert fills(opened) == [
        ("a", "o", "2", "100"), ("b", "o", "2", "100"), ("a", "o", "1", "100"), ("c", "o", "1", "100"),
    ]  # fmt: skip
    assert venue.matching.is_open


# -- the operator ------------------------------------------------------------------------------------------------------


def test_a_liquidation_closes_a_position_without_an_order() -> None:
    venue = exchange(quote(1, "99", "101"), submit("a", "o", "BUY", "4", at=1), quote(2, "89", "91"))
    (part,) = venue.apply(Liquidate(3, "a", SYMBOL, Decimal(1))).reports
    assert (part.kind, part.client_order_id, part.last_qty, part.last_px) == (
        Kind.LIQUIDATION, None, Decimal(1), Decimal(90),
    )  # fmt: skip
    (rest,) = venue.apply(Liquidate(3, "a", SYMBOL)).reports
    assert rest.last_qty == 3 and rest.exec_id != part.exec_id
    assert venue.matching.positions_of("a") == {}
    assert venue.apply(Liquidate(3, "a", SYMBOL)).refusal == "no-position"
    assert venue.accounts["a"].cash == {"USD": Decimal(-44)}


def test_a_liquidation_needs_a_position_and_a_price() -> None:
    venue = exchange(submit("a", "o", "BUY", "4", limit_price="100"), submit("b", "o", "SELL", "4", limit_price="100"))
    assert venue.apply(Liquidate(3, "a", SYMBOL)).refusal == "no-price"
    venue.apply(quote(4, "99", "101"))
    assert venue.apply(Liquidate(3, "a", SYMBOL, Decimal(5))).refusal == "no-position"


def test_fundings_and_fees_are_cash() -> None:
    venue = exchange()
    (funding,) = venue.apply(Fund(1, "a", SYMBOL, "USD", Decimal(-3))).reports
    (fee,) = venue.apply(Charge(1, "a", "USD", Decimal(2), "data")).reports
    assert (funding.kind, funding.amount, fee.kind, fee.amount) == (
        Kind.FUNDING, Decimal(-3), Kind.FEE, Decimal(2),
    )  # fmt: skip
    assert venue.accounts["a"].cash == {"USD": Decimal(-5)}
    assert [fill.kind for fill in venue.fills] == [Kind.FUNDING, Kind.FEE]


def test_a_bust_takes_a_trade_back_once() -> None:
    venue = exchange(quote(1, "99", "101", "9", "4"), taker="0.01")
    venue.apply(submit("a", "o", "BUY", "10", at=1, limit_price="101"))
    assert venue.orders[1].cum_qty == 4
    (bust,) = venue.apply(Bust(2, "a", "x1")).reports
    assert (bust.exec_type, bust.exec_ref_id, bust.last_qty) == (ExecType.TRADE_CANCEL, "x1", Decimal(4))
    assert venue.matching.positions_of("a") == {} and not venue.accounts["a"].cash["USD"]
    order = venue.orders[1]
    assert (order.cum_qty, order.cost, order.status) == (ZERO, ZERO, OrdStatus.NEW)
    assert venue.apply(Bust(2, "a", "x1")).refusal == "already-busted"
    assert venue.apply(Bust(2, "b", "x1")).refusal == "unknown-execution"
    # What was taken back is worked again.
    assert fills(venue.apply(quote(3, "99", "100", "99", "99"))) == [("a", "o", "10", "101")]
    assert order.status is OrdStatus.FILLED


def test_a_correction_changes_quantity_and_price() -> None:
    venue = exchange(quote(1, "99", "101"))
    venue.apply(submit("a", "o", "BUY", "10", at=1))
    (correction,) = venue.apply(Correct(2, "a", "x1", Decimal(8), Decimal(100))).reports
    assert (correction.exec_type, correction.exec_ref_id, correction.last_qty, correction.last_px) == (
        ExecType.TRADE_CORRECT, "x1", Decimal(8), Decimal(100),
    )  # fmt: skip
    assert venue.accounts["a"].cash == {"USD": Decimal(-800)} and venue.matching.positions_of("a") == {SYMBOL: 8}
    venue.apply(Correct(2, "a", "x1", last_px=Decimal(90)))
    assert venue.accounts["a"].cash == {"USD": Decimal(-720)} and venue.orders[1].cum_qty == 8
    venue.apply(Bust(3, "a", "x1"))
    assert venue.accounts["a"].cash == {"USD": Decimal(0)} and venue.matching.positions_of("a") == {}


def test_a_correction_cannot_fill_an_open_order() -> None:
    venue = exchange(quote(1, "99", "101", "9", "4"), submit("a", "o", "BUY", "10", at=1, limit_price="101"))
    assert venue.apply(Correct(2, "a", "x1", Decimal(10))).refusal == "invalid-request"
    assert venue.apply(Correct(2, "a", "x1", Decimal(0))).refusal == "invalid-request"
    assert venue.orders[1].cum_qty == 4


def test_a_bar_that_comes_twice_fills_nothing_that_came_in_between() -> None:
    told_bar = BarTold(200, "X", Decimal(100), Decimal(150), Decimal(90), Decimal(150), None, 100)
    venue = exchange(told_bar)
    for order_id, fields in (("m", {}), ("l", {"limit_price": "95"}), ("c", {"time_in_force": "AT_THE_CLOSE"})):
        venue.apply(submit("a", order_id, "BUY", at=200, **fields))
    assert venue.apply(told_bar).reports == []
    following = BarTold(300, "X", Decimal(150), Decimal(150), Decimal(150), Decimal(150), None, 100)
    assert fills(venue.apply(following)) == [("a", "m", "10", "150"), ("a", "c", "10", "150")]
