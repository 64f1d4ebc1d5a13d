"""What the benchmark of the backtest does when a peer cannot be had, and that its own runs trade what they say."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

from bench import backtest, peer_backtests
from bench.backtest_data import write_bars, write_quotes
from bench.backtest_load import BacktestLoad, measure
from bench.peer_backtests import NAUTILUS, PeerUnavailable, install
from bench.table import Slice, Verdict

ORDERS = 40


def _without_network(command: list[Any], **_options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found for it\n")


def test_a_package_that_cannot_be_installed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_backtests, "VENVS", tmp_path)
    monkeypatch.setattr(venv, "create", lambda *_args, **_options: None)
    monkeypatch.setattr(subprocess, "run", _without_network)
    with pytest.raises(PeerUnavailable, match=r"could not install nautilus_trader 1.221.0: ERROR: No matching"):
        install(NAUTILUS)


def test_a_package_that_is_missing_leaves_a_row_that_says_so() -> None:
    turns = {backtest.BARS: [Slice(count=1, seconds=1)]}
    row = backtest._by_peer(turns, NAUTILUS, "no network")
    assert row.verdict is Verdict.NOT_MEASURED
    assert row.detail == "not measured: no network"


def test_every_order_of_the_strategies_is_filled(tmp_path: Path) -> None:
    quotes = measure(BacktestLoad(strategy="OnQuotes", file=str(write_quotes(tmp_path / "quotes.csv", ORDERS))))
    assert (quotes.moments, quotes.orders, quotes.fills) == (ORDERS, ORDERS, ORDERS)
    # The order that is sent at the last close would be filled at the next open.
    bars = measure(BacktestLoad(strategy="OnBars", file=str(write_bars(tmp_path / "bars.csv", ORDERS))))
    assert (bars.moments, bars.orders, bars.fills) == (ORDERS, ORDERS, ORDERS - 1)


def test_the_idle_strategy_sees_every_quote_and_sends_nothing(tmp_path: Path) -> None:
    idle = measure(BacktestLoad(strategy="Idle", file=str(write_quotes(tmp_path / "quotes.csv", ORDERS))))
    assert (idle.moments, idle.orders, idle.fills) == (ORDERS, 0, 0)
