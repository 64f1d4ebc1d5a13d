"""The strategies that are shipped: given a market, when something happens, then they send this."""

from __future__ import annotations

import importlib
import pkgutil
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from foldbook.market.records import Quote
from foldbook.strategies import OrderRejected, Strategy, examples
from foldbook.strategies.examples.brackets import Brackets
from foldbook.strategies.examples.limit_entries import LimitEntries
from foldbook.strategies.examples.market_maker import MarketMaker
from foldbook.strategies.examples.sized_sma import SizedSma
from foldbook.strategies.examples.sma_cross import SmaCross
from foldbook.strategies.examples.twap import Twap
from foldbook.strategies.loading import load_strategy, with_parameters
from tests.strategies.world import SYMBOL, World

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "strategies"
MODULES = sorted(module.name for module in pkgutil.iter_modules(examples.__path__))


# -- crossings -----------------------------------------------------------------------------------------------------

# With fast=1 and slow=2 the fast mean is the last close, and the slow one lies between the last two. So fast is above
# slow after a close that is higher than the one before, and below it after a lower one.


def test_sma_cross_buys_when_the_fast_mean_crosses_above_the_slow_one() -> None:
    world = World(SmaCross(fast=1, slow=2)).start()
    world.closes(10, 9)  # below
    assert world.sent == []
    world.closes(10)  # above
    assert world.sent == ["BUY 100 MARKET"]


def test_sma_cross_closes_and_reverses() -> None:
    world = World(SmaCross(fast=1, slow=2, quantity=Decimal(3))).start()
    world.closes(10, 9, 10)
    world.fill("o1", "10")
    world.closes(9)  # below again
    assert world.sent == ["BUY 3 MARKET", "SELL 3 MARKET", "SELL 3 MARKET"]
    world.fill("o2", "9")
    world.fill("o3", "9")
    world.closes(10)
    assert world.sent[3:] == ["BUY 3 MARKET", "BUY 3 MARKET"]


@pytest.mark.parametrize("closes", [(9, 10), (10, 9, 9, 10), (9, 10, 11)])
def test_sma_cross_takes_two_bars_strictly_on_either_side_for_a_crossing(closes: tuple[int, ...]) -> None:
    # Too few bars; a tie in between; above all the time.
    world = World(SmaCross(fast=1, slow=2)).start()
    world.closes(*closes)
    assert world.sent == []


def test_sma_cross_compares_exactly() -> None:
    # The means of (0.1, 0.2, 0.3) and of (0.2) are equal; as floats, 0.6000000000000001 / 3 is above 0.2.
    strategy = SmaCross(fast=1, slow=3)
    assert strategy.above([Decimal("0.1"), Decimal("0.3"), Decimal("0.2")]) == 0


@pytest.mark.parametrize("cls", [SmaCross, SizedSma])
def test_the_fast_mean_is_of_fewer_bars(cls: type[SmaCross | SizedSma]) -> None:
    with pytest.raises(ValueError, match="fast=30 must be above 0 and below slow=30"):
        World(cls(fast=30)).start()


def test_sized_sma_waits_for_the_open_and_spends_all_equity() -> None:
    world = World(SizedSma(fast=1, slow=2), cash="100").start()
    world.closes(10, 9, 10)
    assert world.sent == []
    world.bar("7", "11", "7", "11")
    assert world.sent == ["BUY 14 MARKET"]  # 100 / 7 = 14.28
    world.fill("o1", "7")
    world.closes(12, 13)
    assert world.sent[1:] == []  # above all the time


def test_sized_sma_never_spends_the_last_cent() -> None:
    # 100 / 10 would be 10 shares; what is left unspent for safety makes it 9.
    world = World(SizedSma(fast=1, slow=2), cash="100").start()
    world.closes(10, 9, 10, 10)
    assert world.sent == ["BUY 9 MARKET"]


def test_sized_sma_reverses_with_the_equity_after_both_fees() -> None:
    world = World(SizedSma(fast=1, slow=2, commission=Decimal("0.01")), cash="1000").start()
    world.closes(10, 9, 10)
    world.bar("10", "11", "10", "11")
    assert world.sent == ["BUY 99 MARKET"]  # 1000 / (10 * 1.01) = 99.0099
    world.fill("o1", "10", fee=Decimal("9.9"))
    assert world.cash == Decimal("0.1")  # 1000 - 990 - 9.9
    world.closes(9)
    world.bar("8", "8", "8", "8")
    # Closing at 8: 0.1 + 99 * 8 - 99 * 8 * 0.01 = 784.18; 784.18 / (8 * 1.01) = 97.05
    assert world.sent[1:] == ["SELL 99 MARKET", "SELL 97 MARKET"]


def test_sized_sma_may_trade_a_fixed_quantity() -> None:
    world = World(SizedSma(fast=1, slow=2, quantity=5), cash="1000").start()
    world.closes(10, 9, 10, 10)
    assert world.sent == ["BUY 5 MARKET"]


def test_sized_sma_that_can_pay_for_no_share_only_closes() -> None:
    world = World(SizedSma(fast=1, slow=2), cash="5").start()
    world.held[SYMBOL] = Decimal(-1)
    world.closes(10, 9, 10, 10)  # 5 - 10 < 0
    assert world.sent == ["BUY 1 MARKET"]


# -- the market maker ----------------------------------------------------------------------------------------------


def making(**parameters: Decimal | int) -> World:
    """Half a spread is 1 % of the middle, and ticks are whole."""
    given = {"half_spread": Decimal("0.01"), "tick": Decimal(1), "inventory_max": Decimal(4), "size": Decimal(2)}
    return World(MarketMaker(**{**given, **parameters})).start()


def quote(world: World, bid: str, ask: str) -> None:
    world.binding.quote(Quote(SYMBOL, world.now, bid, ask))


def test_the_market_maker_quotes_both_sides_around_the_middle() -> None:
    world = making()
    quote(world, "999", "1001")
    # The middle is 1000, half a spread 10.
    assert world.sent == ["BUY 2 LIMIT 990 post-only", "SELL 2 LIMIT 1010 post-only"]


def test_the_market_maker_leans_against_what_it_holds() -> None:
    world = making()
    world.held[SYMBOL] = Decimal(2)
    quote(world, "999", "1001")
    # Half full: both prices are half of half a spread lower, 5.
    assert world.sent == ["BUY 2 LIMIT 985 post-only", "SELL 2 LIMIT 1005 post-only"]


@pytest.mark.parametrize(
    ("held", "sent"),
    [
        ("3", ["BUY 1 LIMIT 982 post-only", "SELL 2 LIMIT 1003 post-only"]),  # 992.5 - 10 and + 10, rounded outwards
        ("4", ["SELL 2 LIMIT 1000 post-only"]),
        ("-4", ["BUY 2 LIMIT 1000 post-only"]),
    ],
)
def test_the_market_maker_keeps_its_inventory_within_its_limits(held: str, sent: list[str]) -> None:
    world = making()
    world.held[SYMBOL] = Decimal(held)
    quote(world, "999", "1001")
    assert world.sent == sent


def test_the_market_maker_never_takes() -> None:
    world = making(skew=Decimal(10))
    world.held[SYMBOL] = Decimal(2)
    quote(world, "999", "1001")
    # The middle moves by 50 to 950, and the sell order would be at 960: it would take the bid of 999.
    assert world.sent[1] == "SELL 2 LIMIT 1000 post-only"


def test_the_market_maker_follows_the_market_tick_by_tick() -> None:
    world = making(requote_ticks=5)
    quote(world, "999", "1001")
    quote(world, "1003", "1005")  # 993.96 and 1014.04, rounded outwards: 993 and 1015, off by 3 and 5
    assert world.sent[2:] == ["replace o2 2 1015 None"]
    quote(world, "1009", "1011")  # o2 is not answered yet; 999.9 down to 999
    assert world.sent[3:] == ["replace o1 2 999 None"]


def test_the_market_maker_tops_up_what_was_filled_when_it_moves() -> None:
    world = making()
    quote(world, "999", "1001")
    world.fill("o1", "990", "1")
    quote(world, "999", "1001")
    # It holds 1 of 4: a quarter of 10 lower, 987.5 down to 987 and 1007.5 up to 1008. 2 more than the 1 filled.
    assert world.sent[2:] == ["replace o1 3 987 None", "replace o2 2 1008 None"]


def test_the_market_maker_withdraws_a_side_that_is_full_and_everything_at_the_end() -> None:
    world = making()
    quote(world, "999", "1001")
    world.held[SYMBOL] = Decimal(4)
    quote(world, "999", "1001")
    assert world.sent[2:] == ["cancel o1", "replace o2 2 1000 None"]
    world.answer("o2", limit_price=Decimal(1000))
    world.end("o1")
    world.binding.stop()
    assert world.sent[4:] == ["cancel o2"]


# -- slices over time ----------------------------------------------------------------------------------------------


def slicing(**parameters: Decimal | int | str) -> World:
    return World(Twap(**{"quantity": Decimal(10), "slices": 3, "every_s": 60, **parameters})).start()


def ticks(world: World, times: int) -> None:
    for _ in range(times):
        if "slice" in world.timers:
            world.binding.timer("slice", world.now)


def test_twap_sets_a_timer_and_sends_a_slice_each_time() -> None:
    world = slicing()
    assert world.timers == {"slice": (None, timedelta(seconds=60))}
    ticks(world, 10)
    # 10 * 1/3, 2/3, 3/3 in whole lots: 3, 6, 10.
    assert world.sent == ["BUY 3 MARKET", "BUY 3 MARKET", "BUY 4 MARKET"]
    assert world.timers == {}


def test_twap_sends_lots() -> None:
    world = slicing(quantity=Decimal(1), lot=Decimal("0.5"), side="SELL")
    ticks(world, 3)
    assert world.sent == ["SELL 0.5 MARKET", "SELL 0.5 MARKET"]  # 0.33 is 0, 0.67 is 0.5


def test_twap_adds_what_a_slice_could_not_trade_to_the_next() -> None:
    world = slicing()
    ticks(world, 1)
    world.fill("o1", "100", "1")
    world.end("o1")  # 2 of 3 are left
    ticks(world, 1)
    world.end("o2", OrderRejected)  # of 5
    ticks(world, 1)
    assert world.sent == ["BUY 3 MARKET", "BUY 5 MARKET", "BUY 9 MARKET"]


def test_twap_adds_a_denied_slice_to_the_next() -> None:
    world = slicing()
    ticks(world, 1)
    world.deny("o1")
    ticks(world, 1)
    assert world.sent == ["BUY 3 MARKET", "BUY 6 MARKET"]


def test_twap_needs_a_side_and_whole_lots() -> None:
    with pytest.raises(ValueError, match="'buy' is not a valid Side"):
        slicing(side="buy")
    with pytest.raises(ValueError, match="quantity a multiple of lot"):
        slicing(lot=Decimal(3))


# -- limit entries -------------------------------------------------------------------------------------------------


def dipping(**parameters: Decimal | int) -> World:
    """Two steps, 10 % apart; exits 20 % above the entries; ticks are whole."""
    given: dict[str, Decimal | int] = {"depth": Decimal("0.1"), "steps": 2, "gain": Decimal("0.2"), "tick": Decimal(1)}
    return World(LimitEntries(**{**given, "patience": 2, "hold": 3, **parameters})).start()


def test_limit_entries_rest_below_the_market() -> None:
    world = dipping()
    world.closes(105)
    assert world.sent == ["BUY 10 LIMIT 94", "BUY 10 LIMIT 84"]  # 94.5 and 84, rounded down


def test_limit_entries_offer_what_was_bought_at_a_profit() -> None:
    world = dipping()
    world.closes(105)
    world.fill("o1", "94", "4")
    world.fill("o1", "93")
    assert world.sent[2:] == [
        "SELL 4 LIMIT 113 reduce-only",  # 112.8, rounded up
        "SELL 6 LIMIT 112 reduce-only",  # 111.6
    ]


def test_limit_entries_move_when_nothing_was_filled() -> None:
    world = dipping()
    world.closes(105, 200)
    assert len(world.sent) == 2
    world.closes(200)
    assert world.sent[2:] == ["cancel o1", "cancel o2"]
    world.end("o1")
    world.end("o2")
    world.closes(200)
    assert world.sent[4:] == ["BUY 10 LIMIT 180", "BUY 10 LIMIT 160"]


def test_limit_entries_give_up_at_market_once_no_order_is_open() -> None:
    world = dipping()
    world.closes(100)
    world.closes(95)
    world.fill("o1", "90")  # holds 10, offered by o3; the time to hold begins
    world.closes(90, 90)
    assert world.sent[2:] == ["SELL 10 LIMIT 108 reduce-only"]
    world.closes(90)
    assert world.sent[3:] == ["cancel o2", "cancel o3"]
    world.end("o2")
    assert world.sent[5:] == []  # o3 might still be filled
    world.fill("o3", "108", "1")
    world.end("o3")
    assert world.sent[5:] == ["SELL 9 MARKET"]


def test_limit_entries_do_not_sell_twice_what_is_filled_while_they_leave() -> None:
    world = dipping(hold=1)
    world.closes(100)
    world.fill("o1", "90")
    world.closes(90)
    assert world.sent[3:] == ["cancel o2", "cancel o3"]
    world.fill("o2", "80")  # before the venue has the cancel
    assert world.sent[5:] == []
    world.end("o3")
    assert world.sent[5:] == ["SELL 20 MARKET"]


def test_limit_entries_need_prices_above_zero() -> None:
    with pytest.raises(ValueError, match=r"depth \* steps must be between 0 and 1"):
        dipping(steps=10)


# -- brackets ------------------------------------------------------------------------------------------------------


def breaking(**parameters: Decimal | int) -> World:
    """Looks back 2 bars; ticks are whole."""
    given: dict[str, Decimal | int] = {"lookback": 2, "tick": Decimal(1), "stop": Decimal("0.1")}
    return World(Brackets(**{**given, "target": Decimal("0.2"), **parameters})).start()


def test_brackets_buy_a_breakout_with_a_stop_and_a_target() -> None:
    world = breaking()
    world.bar("100", "104", "99", "100")
    world.closes(103, 104)  # not above 104
    assert world.sent == []
    world.closes(105)
    assert world.sent == [
        "BUY 100 MARKET",
        "SELL 100 STOP 94 reduce-only",  # 94.5, rounded down
        "SELL 100 LIMIT 126 reduce-only",
    ]


def test_the_legs_of_a_bracket_are_one_group_that_no_other_has() -> None:
    world = breaking()
    world.closes(1, 2, 3)
    first = {intent.group for intent in world.intents.values()}
    for order_id in list(world.open_orders):
        world.end(order_id)
    world.closes(4)
    second = {world.intents[order_id].group for order_id in world.open_orders}
    assert len(first) == len(second) == 1
    assert first != second
    (group,) = first
    assert group is not None
    assert group.id == "20260108T000000.000000-0"
    assert msgspec.convert({"kind": "BRACKET", "id": group.id}, type(group)) == group  # a valid name


def test_the_entry_of_a_bracket_may_be_a_limit_order() -> None:
    world = breaking(pullback=Decimal("0.05"))
    world.closes(90, 90, 100)
    assert world.sent[0] == "BUY 100 LIMIT 95"


def test_a_bracket_waits_for_the_one_before() -> None:
    world = breaking()
    world.closes(1, 2, 30)
    world.closes(40)  # its orders are open
    world.fill("o1", "40")
    world.closes(50)
    world.end("o2")
    world.end("o3")
    world.closes(60)  # it holds a position
    assert len(world.sent) == 3


def test_the_entry_of_a_bracket_is_above_its_stop() -> None:
    with pytest.raises(ValueError, match="pullback must be below stop"):
        breaking(pullback=Decimal("0.1"))


# -- their pages ---------------------------------------------------------------------------------------------------


def example_of(module: str) -> tuple[str, type[Strategy]]:
    """The example's file, as a command names it in a checkout, and its class."""
    found = importlib.import_module(f"{examples.__name__}.{module}")
    names = [name for name, value in vars(found).items() if getattr(value, "__module__", None) == found.__name__]
    (name,) = [each for each in names if isinstance(vars(found)[each], type)]
    reference = f"app/foldbook/strategies/examples/{module}.py:{name}"
    return reference, load_strategy(f"{ROOT}/{reference}")


@pytest.mark.parametrize("module", MODULES)
def test_an_example_has_a_page_with_its_command_and_its_parameters(module: str) -> None:
    reference, cls = example_of(module)
    page = (PAGES / f"{module}.md").read_text()
    assert f"foldbook backtest {reference} --data " in page
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| `([^`]*)` \|", page, re.MULTILINE)
    defaults = cls().parameter_values()
    assert rows == [(each.name, each.kind.__name__, defaults[each.name]) for each in cls.parameters().values()]
    assert f"strategies/{module}.md" in (ROOT / "docs" / "strategies.md").read_text()


def test_every_page_is_about_an_example() -> None:
    assert sorted(path.stem for path in PAGES.glob("*.md")) == MODULES


def test_the_strategy_of_the_guide_does_what_it_says(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "strategies.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    (tmp_path / "momentum.py").write_text(code)
    cls = load_strategy(f"{tmp_path}/momentum.py:Momentum")
    world = World(with_parameters(cls, {"bars": "2"})).start()
    world.closes(10, 11)
    world.fill("o1", "11")
    world.closes(12, 11)
    assert world.sent == ["BUY 100 MARKET", "SELL 100 MARKET"]
