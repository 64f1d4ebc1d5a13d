"""A command as a line, and the same command from that line."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from foldbook.eventstore.command_json import CommandLines
from foldbook.eventstore.command_writing import line_of
from foldbook.eventstore.events import NO_METADATA, Command, Metadata
from foldbook.trading import commands
from foldbook.trading.commands import COMMANDS
from foldbook.trading.values import (
    AdjustmentKind,
    DoubtOutcome,
    ExecType,
    GroupKind,
    InstrumentKind,
    OrderGroup,
    OrderType,
    RequestKind,
    RiskLimits,
    Side,
    TimeInForce,
    TradingState,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
GIVEN: dict[str, Any] = {"command_id": UUID(int=7), "received_at": NOW, "account": "alice/binance/simulated"}
ORDER = GIVEN | {"order_id": "o-1"}
TINY = Decimal("0.00000001")

SAMPLES: list[Command] = [
    commands.OpenAccount(**GIVEN),
    commands.PlaceOrder(
        **ORDER,
        strategy_id="s",
        symbol="BTC/USDT",
        side=Side.SELL,
        order_type=OrderType.STOP_LIMIT,
        quantity=TINY,
        limit_price=Decimal(1000),
        stop_price=Decimal(5),
        time_in_force=TimeInForce.GTD,
        expire_at=NOW,
        post_only=True,
        group=OrderGroup(kind=GroupKind.OCO, id="g"),
    ),
    commands.RequestCancel(**ORDER),
    commands.RequestReplace(**ORDER, limit_price=Decimal("-0.5")),
    commands.RecordExecution(
        **ORDER, exec_type=ExecType.TRADE, exec_id='e "1" \\ é', last_qty=TINY, last_px=TINY, transact_time=NOW
    ),
    commands.RecordAttempt(**ORDER, request=RequestKind.SUBMIT, attempt=2),
    commands.RecordDoubt(**ORDER, request=RequestKind.CANCEL, reason="who knows"),
    commands.ResolveDoubt(**ORDER, doubt_id="d", outcome=DoubtOutcome.RESEND),
    commands.RecordHolding(**GIVEN, symbol="X", quantity=Decimal(0)),
    commands.AdjustAccount(**GIVEN, kind=AdjustmentKind.SPLIT, reference="r", symbol="X", split_to=2, split_from=1),
    commands.DefineInstrument(
        **GIVEN, symbol="X", kind=InstrumentKind.INVERSE, tick_size=TINY, multiplier=Decimal(100), expiry=NOW
    ),
    commands.RecordPrice(**GIVEN, symbol="X", price=Decimal("12345678901234567890.5"), transact_time=NOW),
    commands.SetRiskLimits(**GIVEN, limits=RiskLimits(max_quantity=Decimal("1.5"), allowed_symbols=("X", "Y"))),
    commands.SetTradingState(**GIVEN, state=TradingState.HALTED, reason="enough", cancel_open_orders=True),
]
LINES = CommandLines(COMMANDS)


def read(line: bytes) -> Any:
    return LINES.read(line, lambda: UUID(int=0), NOW, NO_METADATA)


@pytest.mark.parametrize("command", SAMPLES, ids=lambda command: type(command).__name__)
def test_the_line_of_a_command_makes_the_same_command(command: Command) -> None:
    line = line_of(command, NO_METADATA)
    assert b"\n" not in line
    assert read(line) == (command, NO_METADATA, None)
    assert read(line).command.fingerprint() == command.fingerprint()


def test_every_command_is_in_the_samples() -> None:
    assert {type(command) for command in SAMPLES} == set(COMMANDS)


def test_an_expected_sequence_and_a_raw_message_go_along() -> None:
    report, cancel = SAMPLES[4], SAMPLES[2]
    said = Metadata(actor="nobody", correlation_id="c", raw_message="<35=8>")
    assert read(line_of(report, said, 7)) == (report, Metadata(raw_message="<35=8>"), 7)
    assert read(line_of(cancel, said, 0)) == (cancel, NO_METADATA, 0), "a cancel carries no message"
