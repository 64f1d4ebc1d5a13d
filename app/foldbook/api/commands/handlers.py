"""Commands over HTTP: each call becomes one command, and is answered once that is durable.

The handlers are Litestar's, which documents them; ``calls.py`` calls the same functions without its request machinery.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from litestar import Response, post, put
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody
from msgspec import Struct
from uuid_utils.compat import uuid7

from foldbook.api.commands.schemas import (
    CancelBody,
    ExecutionReportBody,
    HaltBody,
    InstrumentBody,
    OpenAccountBody,
    PlaceOrderBody,
    PriceBody,
    ReplaceBody,
    RiskLimitsBody,
    TradingStateBody,
)
from foldbook.api.paths import OF_ACCOUNT, OF_INSTRUMENT, OF_ORDER, OF_PRICE, account_of, order_id_of, symbol_to_set
from foldbook.api.problems import Problem, told
from foldbook.api.queries.documents import CommandAnswer
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import NO_METADATA, Metadata
from foldbook.trading.commands import BookCommand, OpenAccount, RequestCancel, SetTradingState
from foldbook.trading.values import TradingState

Bus = CommandBus

_HEADER_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ENTITY_TAG = re.compile(r'"(0|[1-9][0-9]{0,17})"')


class Envelope(Struct, frozen=True):
    """What the headers say about a command."""

    command_id: UUID
    metadata: Metadata
    expected_sequence: int | None


def envelope_of(
    idempotency_key: str | None = None,
    if_match: str | None = None,
    actor: str | None = None,
    correlation_id: str | None = None,
) -> Envelope:
    """Reads the headers; raises ``Problem`` naming the one that cannot be read."""
    if idempotency_key is None:
        command_id = uuid7()
    elif _UUID.fullmatch(idempotency_key):
        command_id = UUID(idempotency_key)
    else:
        raise _bad_header("Idempotency-Key", "must be a UUID")
    expected_sequence = None
    if if_match is not None:
        if (tag := _ENTITY_TAG.fullmatch(if_match)) is None:
            raise _bad_header("If-Match", 'must be one sequence in quotes, as in "7"')
        expected_sequence = int(tag[1])
    metadata = NO_METADATA
    if actor is not None or correlation_id is not None:
        for name, value in (("X-Actor", actor), ("X-Correlation-Id", correlation_id)):
            if value is not None and not _HEADER_TEXT.fullmatch(value):
                raise _bad_header(name, "must be 1 to 128 characters without control characters")
        metadata = Metadata(actor=actor, correlation_id=correlation_id)
    return Envelope(command_id, metadata, expected_sequence)


def provide_envelope(
    idempotency_key: Annotated[
        str | None, HeaderParameter(name="Idempotency-Key", description="The command id, a UUID; makes a retry safe.")
    ] = None,
    if_match: Annotated[
        str | None, HeaderParameter(name="If-Match", description="The account's sequence that the command is based on.")
    ] = None,
    x_actor: Annotated[str | None, HeaderParameter(name="X-Actor", description="On whose request.")] = None,
    x_correlation_id: Annotated[str | None, HeaderParameter(name="X-Correlation-Id")] = None,
) -> Envelope:
    """Litestar's way to the same."""
    return envelope_of(idempotency_key, if_match, x_actor, x_correlation_id)


def _bad_header(name: str, what: str) -> Problem:
    return Problem("malformed", f"{name} {what}", field=name)


class CommandResponse(Response[CommandAnswer]):
    """An answer with its headers; ``location``: where to find what the command created, if it creates."""

    def __init__(self, result: CommandResult, location: str | None) -> None:
        # Not super().__init__: what it does for cookies and type encoders takes longer than all the rest of a call.
        self.content = answer_of(result)
        self.headers = {"etag": f'"{result.sequence}"'}
        self.status_code = 200
        if location is not None:
            self.headers["location"] = location
            self.status_code = 200 if result.replayed else 201
        self.background = None
        self.cookies = []
        self.encoding = "utf-8"
        self.media_type = None
        self.response_type_encoders = {}


async def _execute(
    bus: Bus,
    command: BookCommand,
    envelope: Envelope,
    location: str | None = None,
    metadata: Metadata | None = None,
) -> CommandResponse:
    result = await bus.submit(
        command, metadata=metadata or envelope.metadata, expected_sequence=envelope.expected_sequence
    )
    return CommandResponse(result, location)


def answer_of(result: CommandResult) -> CommandAnswer:
    return CommandAnswer(
        result.aggregate_id,
        result.shard,
        result.position,
        result.sequence,
        result.events,
        result.command_id,
        result.replayed,
    )


REPLAYED = {200: ResponseSpec(CommandAnswer, generate_examples=False, description="It was answered before")}
SEQUENCE = [ResponseHeader(name="ETag", description="The account's sequence, in quotes", documentation_only=True)]
CREATION = [*SEQUENCE, ResponseHeader(name="Location", description="What was created", documentation_only=True)]
COMMAND_PROBLEMS = (
    "malformed",
    "unknown-account",
    "idempotency-conflict",
    "sequence-conflict",
    "body-too-large",
    "unsupported-media-type",
    "invalid-command",
    "overloaded",
    "unavailable",
)


@post(
    "/accounts",
    tags=["commands"],
    responses=REPLAYED | told("already-exists", *COMMAND_PROBLEMS),
    response_headers=CREATION,
)
async def open_account(
    bus: NamedDependency[Bus], data: JSONBody[OpenAccountBody], envelope: NamedDependency[Envelope]
) -> Response[CommandAnswer]:
    """Open the order book of an account."""
    account = f"{data.user}/{data.exchange}/{data.broker}"
    command = OpenAccount(command_id=envelope.command_id, received_at=datetime.now(UTC), account=account)
    return await _execute(bus, command, envelope, f"/accounts/{account}")


@post(
    f"{OF_ACCOUNT}/orders",
    tags=["commands"],
    responses=REPLAYED | told("duplicate-order", *COMMAND_PROBLEMS),
    response_headers=CREATION,
)
async def place_order(
    bus: NamedDependency[Bus],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    data: JSONBody[PlaceOrderBody],
    envelope: NamedDependency[Envelope],
) -> Response[CommandAnswer]:
    """Place an order."""
    account = account_of(user, exchange, broker)
    command = data.command(account, envelope.command_id, datetime.now(UTC))
    return await _execute(bus, command, envelope, f"/accounts/{account}/orders/{data.order_id}")


@post(
    f"{OF_ORDER}/cancel",
    tags=["commands"],
    status_code=200,
    responses=told("unknown-order", "order-closed", "too-many-requests", *COMMAND_PROBLEMS),
    response_headers=SEQUENCE,
)
async def request_cancel(
    bus: NamedDependency[Bus],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    order_id: FromPath[str],
    data: JSONBody[CancelBody | None],
    envelope: NamedDependency[Envelope],
) -> Response[CommandAnswer]:
    """Ask for a cancel."""
    account = account_of(user, exchange, broker)
    command = RequestCancel(
        command_id=envelope.command_id,
        received_at=datetime.now(UTC),
        account=account,
        order_id=order_id_of(order_id),
    )
    return await _execute(bus, command, envelope)


@post(
    f"{OF_ORDER}/replace",
    tags=["commands"],
    status_code=200,
    responses=told("unknown-order", "order-closed", "too-many-requests", *COMMAND_PROBLEMS),
    response_headers=SEQUENCE,
)
async def request_replace(
    bus: NamedDependency[Bus],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    order_id: FromPath[str],
    data: JSONBody[ReplaceBody],
    envelope: NamedDependency[Envelope],
) -> Response[CommandAnswer]:
    """Ask for another quantity or another price.

    If our own risk checks refuse it, it is recorded as denied: the answer has the event `OrderReplaceDenied`.
    """
    account = account_of(user, exchange, broker)
    command = data.replacement(account, order_id_of(order_id), envelope.command_id, datetime.now(UTC))
    return await _execute(bus, command, envelope)


@post(
    f"{OF_ACCOUNT}/execution-reports",
    tags=["commands"],
    status_code=200,
    responses=told(*COMMAND_PROBLEMS),
    response_headers=SEQUENCE,
)
async def record_execution(
    bus: NamedDependency[Bus],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    data: JSONBody[ExecutionReportBody],
    envelope: NamedDependency[Envelope],
) -> Response[CommandAnswer]:
    """Tell what the broker said happened to an order.

    What happened is a fact: a report is not refused because its order is closed or unknown. What fits nothing that is
    known, or contradicts it, is recorded for somebody to look at, in `GET .../exceptions`.
    """
    account = account_of(user, exchange, broker)
    command = data.command(account, envelope.command_id, datetime.now(UTC))
    return await _execute(bus, command, envelope, metadata=data.metadata(envelope.metadata))


# -- the account's settings --------------------------------------------------------------------------------------


@put(
    OF_INSTRUMENT,
    tags=["commands"],
    responses=told("instrument-in-use", "too-many-symbols", *COMMAND_PROBLEMS),
    response_headers=SEQUENCE,
)
async def define_instrument(
    bus: NamedDependency[Bus],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    symbol: FromPath[str],
    data: JSONBody[InstrumentBody],
    envelope: NamedDependency[Envelope],
) -> Response[CommandAnswer]:
    """Say what a symbol is; said again, it changes.

    The multiplier and the currencies stay as they are while the account has a position or an open order in it.
    """
    account = account_of(user, exchange, broker)
    command = data.definition(account, symbol_to_set(symbol), envelope.command_id, datetime.now(UTC))
    return await _execute(bus, command, envelope)


@put(
    OF_PRICE,
    tags=["commands"],
    responses=told("too-many-symbols", *COMMAND_PROBLEMS),
    response_headers=SEQUENCE,
)
async def record_price(
    bus: NamedDependency[Bus],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    symbol: FromPath[str],
    data: JSONBody[PriceBody],
    envelope: NamedDependency[Envelope],
) -> Response[CommandAnswer]:
    """Tell the last price of a symbol. One that is older than what is known changes nothing."""
    account = account_of(user, exchange, broker)
    command = data.quotation(account, symbol_to_set(symbol), envelope.command_id, datetime.now(UTC))
    return await _execute(bus, command, envelope)


@put(
    f"{OF_ACCOUNT}/risk",
    tags=["commands"],
    responses=told("too-many-symbols", *COMMAND_PROBLEMS),
    response_headers=SEQUENCE,
)
async def set_risk_limits(
    bus: NamedDependency[Bus],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    data: JSONBody[RiskLimitsBody],
    envelope: NamedDependency[Envelope],
) -> Response[CommandAnswer]:
    """Replace the limits of the account, or those of one symbol in it. Both hold."""
    account = account_of(user, exchange, broker)
    command = data.command(account, envelope.command_id, datetime.now(UTC))
    return await _execute(bus, command, envelope)


@post(
    f"{OF_ACCOUNT}/halt",
    tags=["commands"],
    status_code=200,
    responses=told(*COMMAND_PROBLEMS),
    response_headers=SEQUENCE,
)
async def halt_trading(
    bus: NamedDependency[Bus],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    data: JSONBody[HaltBody | None],
    envelope: NamedDependency[Envelope],
) -> Response[CommandAnswer]:
    """The kill switch: no order leaves any more, and every open one is asked to be cancelled."""
    account = account_of(user, exchange, broker)
    body = data or HaltBody()
    is_cancel = body.cancel_open_orders
    command = _trading_state(account, TradingState.HALTED, body.reason, envelope, cancel_open_orders=is_cancel)
    return await _execute(bus, command, envelope)


@post(
    f"{OF_ACCOUNT}/reduce",
    tags=["commands"],
    status_code=200,
    responses=told(*COMMAND_PROBLEMS),
    response_headers=SEQUENCE,
)
async def reduce_trading(
    bus: NamedDependency[Bus],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    data: JSONBody[TradingStateBody | None],
    envelope: NamedDependency[Envelope],
) -> Response[CommandAnswer]:
    """Let the account only make its positions smaller."""
    account = account_of(user, exchange, broker)
    command = _trading_state(account, TradingState.REDUCING, None if data is None else data.reason, envelope)
    return await _execute(bus, command, envelope)


@post(
    f"{OF_ACCOUNT}/resume",
    tags=["commands"],
    status_code=200,
    responses=told(*COMMAND_PROBLEMS),
    response_headers=SEQUENCE,
)
async def resume_trading(
    bus: NamedDependency[Bus],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    data: JSONBody[TradingStateBody | None],
    envelope: NamedDependency[Envelope],
) -> Response[CommandAnswer]:
    """Let the account trade again."""
    account = account_of(user, exchange, broker)
    command = _trading_state(account, TradingState.ACTIVE, None if data is None else data.reason, envelope)
    return await _execute(bus, command, envelope)


def _trading_state(
    account: str, state: TradingState, reason: str | None, envelope: Envelope, *, cancel_open_orders: bool = False
) -> SetTradingState:
    return SetTradingState(
        command_id=envelope.command_id,
        received_at=datetime.now(UTC),
        account=account,
        state=state,
        reason=reason,
        cancel_open_orders=cancel_open_orders,
    )
