"""``foldbook backtest``, as a user types it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from foldbook.resources import ROOT
from tests.backtest.data import bars
from tests.backtest.test_loop import RISING

CROSSING = "tests.backtest.scripted:Crossing"


def foldbook(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "app")])}
    done = subprocess.run(
        [sys.executable, "-m", "foldbook.cli", "backtest", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == code, done.stderr
    return done


def test_the_table_the_hash_and_the_report(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = foldbook(CROSSING, "--data", bars(tmp_path, RISING), "--report", str(page))
    assert re.search(r"final equity +9,990\.00", done.stdout)
    assert re.search(r"stream hash +[0-9a-f]{64}", done.stdout)
    text = page.read_text()
    assert "<svg" in text
    assert not re.search(r"(src|href)=.https?:", text)


def test_json_says_everything_as_text(tmp_path: Path) -> None:
    done = foldbook(CROSSING, "--data", bars(tmp_path, RISING), "--json", "--commission", "0.01", "--cash", "500")
    result = json.loads(done.stdout)
    assert {
        "stream_hash", "parameters", "data", "orders", "fills", "round_trips", "cash", "final_equity", "return_pct",
        "max_drawdown_pct", "win_rate_pct", "exposure_pct", "sharpe", "fees", "equity",
    } <= set(result)  # fmt: skip
    first = result["fills"][0]
    assert (first["time"], first["side"], first["quantity"], first["price"], first["fee"]) == (
        "2026-01-03T00:00:00Z", "BUY", "1", "102", "1.02",
    )  # fmt: skip
    # Bought at 102, reversed at 98 (two fills), marked at 104; one percent of 102 + 98 + 98 in fees.
    assert Decimal(result["final_equity"]) == Decimal(500) - 4 - 6 - Decimal("2.98")
    assert result["parameters"] == {"quantity": "1"}
    assert result["equity"][-1] == ["2026-01-05T00:00:00Z", result["final_equity"]]


@pytest.mark.parametrize("flags", [("--fee", "taker=0.01,maker=0"), ("--spread", "0.01"), ("--slippage", "0.01")])
def test_costs_make_it_worse(tmp_path: Path, flags: tuple[str, ...]) -> None:
    data = bars(tmp_path, RISING)
    free = json.loads(foldbook(CROSSING, "--data", data, "--json").stdout)
    worse = json.loads(foldbook(CROSSING, "--data", data, "--json", *flags).stdout)
    assert Decimal(worse["final_equity"]) < Decimal(free["final_equity"])


def test_with_latency_an_order_misses_the_open(tmp_path: Path) -> None:
    data = bars(tmp_path, RISING)
    prompt = json.loads(foldbook(CROSSING, "--data", data, "--json").stdout)["fills"]
    late = json.loads(foldbook(CROSSING, "--data", data, "--json", "--latency", "5ms").stdout)["fills"]
    assert (prompt[0]["time"], late[0]["time"]) == ("2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z")


def test_positions_are_closed_at_the_end_if_asked(tmp_path: Path) -> None:
    done = foldbook(CROSSING, "--data", bars(tmp_path, RISING), "--json", "--close-at-end")
    last = json.loads(done.stdout)["fills"][-1]
    assert (last["side"], last["price"], last["time"]) == ("BUY", "98", "2026-01-04T00:00:00Z")


def test_a_sweep_ranks_and_says_how_many_it_tried(tmp_path: Path) -> None:
    done = foldbook(CROSSING, "--data", bars(tmp_path, RISING), "--sweep", "quantity=1..3", "--rank", "return_pct")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:4]] == ["1", "2", "3"]
    assert "3 combinations tried" in done.stdout


def test_a_strategy_that_raises_ends_the_command_with_1_and_says_why(tmp_path: Path) -> None:
    done = foldbook("tests.backtest.scripted:Raising", "--data", bars(tmp_path, RISING), code=1)
    assert "RuntimeError: the third bar" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--data", "nowhere.csv"], 1, "nowhere.csv"),
        (["--data", "{data}", "--param", "speed=3"], 1, "speed"),
        (["--data", "{data}", "--param", "speed"], 2, "NAME=VALUE"),
        (["--data", "{data}", "--fee", "0.1"], 2, "NAME=VALUE"),
        (["--data", "{data}", "--fee", "taker=1", "--commission", "1"], 2, "exclude each other"),
        (["--data", "{data}", "--cash", "much"], 2, "not a number"),
        (["--data", "{data}", "--latency", "5 parsecs"], 2, "5ms"),
        (["--data", "{data}", "--store", "paper"], 2, "memory or postgres"),
        (["--data", "{data}", "--walk-forward", "3"], 2, "--sweep"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    data = bars(tmp_path, RISING)
    done = foldbook(CROSSING, *(text.format(data=data) for text in arguments), code=code)
    assert says in done.stderr


def test_a_bad_row_has_its_line_and_can_be_skipped(tmp_path: Path) -> None:
    data = bars(tmp_path, [*RISING, ("100", "90", "110", "100")])
    assert "line 6" in foldbook(CROSSING, "--data", data, code=1).stderr
    done = foldbook(CROSSING, "--data", data, "--skip-bad-rows")
    assert "1 bad rows were skipped" in done.stderr
