"""What is derived from a command's declaration, with commands that are not trading's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldbook.access.principal import ANYONE
from foldbook.api.commands.calls import CommandCalls
from foldbook.api.commands.openapi import command_paths
from foldbook.api.commands.reference import command_table
from foldbook.errors import Refusal, kind_of
from foldbook.eventstore.command_json import CommandBody, CommandLines, declaration_of, identity_of
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.declaration import FLAT, AsText, Call, Declaration, InPath
from foldbook.eventstore.events import Command, Metadata
from foldbook.eventstore.strict_json import decode, refuse_repeated_keys
from foldbook.trading.commands import COMMANDS, PlaceOrder, RecordPrice, SetRiskLimits
from foldbook.trading.values import RiskLimits, Side, TimeInForce

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HTTP_MD = Path(__file__).parents[2] / "docs" / "http.md"


class Colour(StrEnum):
    RED = "RED"
    BLUE = "BLUE"


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    lowest: Annotated[Decimal, AsText(Decimal, r"^[0-9]+$")] | None = None
    highest: int = 100


class CounterCommand(Command, frozen=True, kw_only=True):
    aggregate_type = "counter"

    counter_id: Annotated[str, msgspec.Meta(pattern="^[a-z]+$"), InPath("unknown-counter", "a counter has a name")]

    @property
    def aggregate_id(self) -> str:
        return self.counter_id


class Open(CounterCommand, frozen=True, kw_only=True):
    """Open a counter."""

    declaration: ClassVar = Declaration(
        role="operator",
        calls=(Call(method="POST", path="/counters", creates="/counters/{counter_id}"),),
    )


class Add(CounterCommand, frozen=True, kw_only=True):
    """Add to a counter.

    Nobody is asked.
    """

    declaration: ClassVar = Declaration(
        role="trader",
        calls=(
            Call(method="POST", path="/counters/{counter_id}/add"),
            Call(
                name="Increment",
                method="POST",
                path="/counters/{counter_id}/increment",
                fixed={"amount": 1},
                defaults={"note": "one more"},
                may_be_empty=True,
            ),
        ),
        refusals=("too-many",),
    )

    amount: int
    note: str | None = None
    at: datetime | None = None
    colour: Colour = Colour.RED
    bounds: Annotated[Bounds, FLAT] = Bounds()


class Paint(CounterCommand, frozen=True, kw_only=True):
    """Paint one side of a counter."""

    declaration: ClassVar = Declaration(
        role="trader", calls=(Call(method="PUT", path="/counters/{counter_id}/sides/{colour}/{side}"),)
    )

    colour: Colour
    side: int


COUNTER: tuple[type[Command], ...] = (Open, Add, Paint)


class Bus:
    """Takes every command."""

    def __init__(self) -> None:
        self.taken: list[Command] = []

    def submit(
        self, command: Command, *, metadata: Metadata, expected_sequence: int | None
    ) -> asyncio.Future[CommandResult]:
        self.taken.append(command)
        done: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        done.set_result(
            CommandResult(
                aggregate_id=command.aggregate_id,
                shard=0,
                position=7,
                sequence=3,
                events=("Added",),
                command_id=command.command_id,
            )
        )
        return done


def ignore(*_: object) -> None:
    pass


async def ask(bus: Bus, method: str, path: str, body: bytes) -> tuple[int, dict[bytes, bytes], Any]:
    counted: list[tuple[str, str, int]] = []
    calls = CommandCalls(COUNTER, bus, lambda *one: counted.append(one), ignore)  # type: ignore[arg-type]
    found = calls.find(method, path)
    assert found is not None
    status, headers, text = await calls.reply(found[0], ANYONE, found[1], {}, body)
    assert counted == [(method, found[0].template, status)]
    return status, dict(headers), json.loads(text)


async def test_a_call_becomes_its_command() -> None:
    bus = Bus()
    body = b'{"amount":2,"at":"2016-12-31T18:59:60-05:00","lowest":"7","colour":"BLUE"}'
    status, headers, document = await ask(bus, "POST", "/counters/clicks/add", body)
    (command,) = bus.taken
    assert command == Add(
        command_id=command.command_id,
        received_at=command.received_at,
        counter_id="clicks",
        amount=2,
        at=datetime(2017, 1, 1, tzinfo=UTC),
        colour=Colour.BLUE,
        bounds=Bounds(lowest=Decimal(7)),
    )
    assert (status, headers[b"etag"]) == (200, b'"3"')
    # The name of the aggregate is the command's own word for it.
    assert document == {
        "counter_id": "clicks",
        "shard": 0,
        "position": 7,
        "sequence": 3,
        "events": ["Added"],
        "command_id": str(command.command_id),
        "replayed": False,
    }


async def test_a_call_fixes_fields_and_has_defaults_of_its_own() -> None:
    bus = Bus()
    for body in (b"", b"null", b"{}", b'{"note":null}'):
        assert (await ask(bus, "POST", "/counters/clicks/increment", body))[0] == 200
    assert [(command.amount, command.note) for command in bus.taken if isinstance(command, Add)] == [
        (1, "one more"),
        (1, "one more"),
        (1, "one more"),
        (1, None),
    ]
    status, _, document = await ask(bus, "POST", "/counters/clicks/increment", b'{"amount":2}')
    assert (status, document["type"]) == (400, "urn:foldbook:problem:malformed")


async def test_what_the_path_does_not_name_is_in_the_body() -> None:
    bus = Bus()
    status, headers, _ = await ask(bus, "POST", "/counters", b'{"counter_id":"clicks"}')
    assert (status, headers[b"location"]) == (201, b"/counters/clicks")
    status, _, _ = await ask(bus, "PUT", "/counters/clicks/sides/BLUE/2", b"{}")
    assert status == 200
    painted = bus.taken[-1]
    assert isinstance(painted, Paint)
    assert (painted.colour, painted.side) == (Colour.BLUE, 2)


@pytest.mark.parametrize(
    ("path", "code", "field"),
    [
        ("/counters/UP/sides/BLUE/2", "unknown-counter", None),
        ("/counters/up/sides/GREEN/2", "invalid-command", "colour"),
        ("/counters/up/sides/BLUE/x", "invalid-command", "side"),
    ],
)
async def test_a_path_that_names_nothing_is_answered_as_declared(path: str, code: str, field: str | None) -> None:
    _, _, document = await ask(Bus(), "PUT", path, b"{}")
    assert (document["type"], document.get("field")) == (f"urn:foldbook:problem:{code}", field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"amount":1,"at":"2026-02-30T00:00:00Z"}', "at"),
        (b'{"amount":1,"at":"2026-01-02T03:04:05"}', "at"),
        (b'{"amount":1,"lowest":"-1"}', "lowest"),
        (b'{"amount":1,"note":"nul\\u0000"}', "note"),
        (b'{"amount":1,"colour":"GREEN"}', "colour"),
    ],
)
async def test_a_value_that_its_field_cannot_hold_is_refused(body: bytes, field: str) -> None:
    status, _, document = await ask(Bus(), "POST", "/counters/clicks/add", body)
    assert (status, document["field"]) == (422, field)


def test_a_line_says_everything() -> None:
    lines = CommandLines((*COMMANDS, *COUNTER))
    command_id = uuid4()
    text = {"type": "Add", "counter_id": "clicks", "amount": 2, "highest": 5, "expected_sequence": 3}
    line = lines.read(json.dumps(text).encode(), lambda: command_id, NOW, Metadata(actor="me"))
    expected = Add(command_id=command_id, received_at=NOW, counter_id="clicks", amount=2, bounds=Bounds(highest=5))
    assert line == (expected, Metadata(actor="me"), 3)
    account = "alice/binance/simulated"
    price = {"type": "RecordPrice", "account": account, "symbol": "X", "price": "1.50", "command_id": str(UUID(int=1))}
    line = lines.read(json.dumps(price).encode(), uuid4, NOW, Metadata())
    assert line.command == RecordPrice(
        command_id=UUID(int=1), received_at=NOW, account=account, symbol="X", price=Decimal("1.5")
    )
    limits = {"type": "SetRiskLimits", "account": account, "max_quantity": "2.0", "allowed_symbols": ["X"]}
    command = lines.read(json.dumps(limits).encode(), uuid4, NOW, Metadata()).command
    assert isinstance(command, SetRiskLimits)
    assert command.limits == RiskLimits(max_quantity=Decimal(2), allowed_symbols=("X",))


def test_the_openapi_document_has_it_all() -> None:
    calls = CommandCalls(COUNTER, Bus(), ignore, ignore)  # type: ignore[arg-type]
    paths, schemas = command_paths(COUNTER, calls.all)
    assert set(paths) == {
        "/commands",
        "/counters",
        "/counters/{counter_id}/add",
        "/counters/{counter_id}/increment",
        "/counters/{counter_id}/sides/{colour}/{side}",
    }
    add = paths["/counters/{counter_id}/add"]["post"]
    assert (add["summary"], add["description"]) == ("Add", "Add to a counter.\n\nNobody is asked.")
    assert add["requestBody"]["required"]
    assert not paths["/counters/{counter_id}/increment"]["post"]["requestBody"]["required"]
    assert set(schemas["AddBody"]["properties"]) == {"amount", "note", "at", "colour", "lowest", "highest"}
    assert schemas["AddBody"]["required"] == ["amount"]
    assert "counter_id" in schemas["CounterIdCommandResult"]["properties"]
    assert "201" in paths["/counters"]["post"]["responses"]
    colour = paths["/counters/{counter_id}/sides/{colour}/{side}"]["put"]["parameters"][1]
    assert colour["schema"]["enum"] == ["BLUE", "RED"] or colour["schema"]["enum"] == ["RED", "BLUE"]


def test_the_table_in_the_documentation_is_up_to_date() -> None:
    table = HTTP_MD.read_text().split("<!-- commands -->\n")[1].split("<!-- /commands -->")[0]
    assert table == command_table(COMMANDS), "python -m foldbook.api.commands.reference"


def test_every_refusal_that_is_declared_is_registered() -> None:
    declared = {code for command in COMMANDS for code in declaration_of(command).refusals}
    assert {code for code in declared if kind_of(code) is None} == set()


def test_a_command_knows_its_aggregate_by_one_field() -> None:
    assert {identity_of(command) for command in COMMANDS} == {"account"}
    assert identity_of(Add) == "counter_id"


# -- what cannot be declared -------------------------------------------------------------------------------------


def declared(*calls: Call) -> type[Command]:
    class Other(CounterCommand, frozen=True, kw_only=True):
        declaration: ClassVar = Declaration(role="trader", calls=calls)

    return Other


@pytest.mark.parametrize(
    "path", ["/counters/{counter_id}/add", "/others/{counter_id}/add", "/counters/{counter_id}/increment"]
)
def test_two_calls_with_one_word_are_an_error_at_start(path: str) -> None:
    with pytest.raises(ValueError, match="two calls share the word"):
        CommandCalls((*COUNTER, declared(Call(method="POST", path=path))), Bus(), ignore, ignore)  # type: ignore[arg-type]
    CommandCalls((*COUNTER, declared(Call(method="DELETE", path=path))), Bus(), ignore, ignore)  # type: ignore[arg-type]


def test_a_path_names_fields_of_its_command() -> None:
    with pytest.raises(TypeError, match="no field user"):
        CommandCalls([declared(Call(method="POST", path="/counters/{user}/sub"))], Bus(), ignore, ignore)  # type: ignore[arg-type]


def test_a_command_that_is_not_declared_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="has no declaration"):
        CommandLines([CounterCommand])


def test_a_type_says_how_it_travels() -> None:
    class Pay(CounterCommand, frozen=True, kw_only=True):
        declaration: ClassVar = Declaration(role="trader")
        amount: Decimal

    class Nest(CounterCommand, frozen=True, kw_only=True):
        declaration: ClassVar = Declaration(role="trader")
        bounds: Bounds

    class Clash(CounterCommand, frozen=True, kw_only=True):
        declaration: ClassVar = Declaration(role="trader")
        type: str

    class Odd(CounterCommand, frozen=True, kw_only=True, rename="kebab"):
        declaration: ClassVar = Declaration(role="trader")
        how_much: int

    for command, why in ((Pay, "AsText"), (Nest, "FLAT"), (Clash, "every line"), (Odd, "how-much")):
        with pytest.raises(TypeError, match=why):
            CommandLines([command])


@pytest.mark.parametrize("given", [{"fixed": {"amuont": 1}}, {"defaults": {"amuont": 1}}])
def test_what_a_call_gives_is_a_field(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="no field amuont"):
        CommandBody(Add, Call(method="POST", path="/counters/{counter_id}/add", **given))


# -- a key twice -------------------------------------------------------------------------------------------------

BODY = CommandBody(PlaceOrder, declaration_of(PlaceOrder).calls[0])
LIMITS = CommandBody(SetRiskLimits, declaration_of(SetRiskLimits).calls[0])
PRICE = CommandBody(RecordPrice, declaration_of(RecordPrice).calls[0])
WORDS: dict[str, list[str]] = {
    "order_id": ['"o-1"', '"a:b"', '"o\\u003a1"'],
    "strategy_id": ['"trend"'],
    "symbol": ['"BTC:USDT"', '"X"'],
    "side": [f'"{Side.BUY}"', f'"{Side.SELL}"'],
    "order_type": ['"LIMIT"'],
    "quantity": ['"1"', '"1.50"'],
    "limit_price": ["null", '"1"'],
    "stop_price": ["null"],
    "time_in_force": [f'"{TimeInForce.DAY}"', f'"{TimeInForce.GTC}"'],
    "expire_at": ["null", '"2026-01-02T03:04:05Z"', '"2026-01-02T03:04:05+01:00"', '"2026-01-02T03\\u003a04:05Z"'],
}
REQUIRED = ("order_id", "strategy_id", "symbol", "side", "order_type", "quantity")


@st.composite
def texts(draw: st.DrawFn) -> tuple[bytes, bool]:
    """The text of an order, and whether a key is in it twice."""
    names = [*REQUIRED, *draw(st.lists(st.sampled_from(sorted(WORDS)), max_size=5))]
    names = draw(st.permutations(names))
    pairs = []
    for name in names:
        space = draw(st.sampled_from(["", "", " ", "\n\t"]))
        key = draw(st.sampled_from([name, name, name, f"\\u{ord(name[0]):04x}{name[1:]}"]))
        pairs.append(f'{space}"{key}"{space}:{space}{draw(st.sampled_from(WORDS[name]))}')
    return ("{" + ",".join(pairs) + "}").encode(), len(set(names)) < len(names)


@given(texts())
def test_a_key_twice_is_found_however_it_is_written(given_text: tuple[bytes, bool]) -> None:
    text, is_repeated = given_text
    if is_repeated:
        with pytest.raises(msgspec.DecodeError, match="occurs twice"):
            BODY.decode(text)
    else:
        BODY.decode(text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (LIMITS, b'{"max_order_rate":{"count":1,"count":1,"interval_s":1}}'),
        (LIMITS, b'{"reduce_only":true,"reduce_only":false}'),
        (LIMITS, b'{"symbol":null,"symbol":null}'),
        (PRICE, b'{"price":"1","occurred_at":"2026-01-02T03:04:05Z","price":"1"}'),
        (PRICE, b'{"price":"1","occurred_at":null,"price":"1"}'),
        (PRICE, b'{"price":"1","price":"-1x"}'),
        (PRICE, b'{"price":1,"price":"1"}'),
        (LIMITS, b'{"reduce_only":true,"reduce_only":"no","colour":1}'),
    ],
)
def test_a_key_twice_is_found_wherever_it_is(body: CommandBody, text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError, match="occurs twice"):
        body.decode(text)


def test_of_many_keys_the_first_that_occurs_twice_is_named() -> None:
    with pytest.raises(msgspec.DecodeError, match='"b"'):
        refuse_repeated_keys(b'{"a":1,"b":1,"c":1,"c":1,"b":1,"c":1}')


def test_most_texts_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reading, which costs 2 us, happens only for texts that may have a key twice."""
    again: list[bytes] = []
    monkeypatch.setattr("foldbook.eventstore.strict_json.refuse_repeated_keys", again.append)
    one = {"order_id": "o", "strategy_id": "s", "symbol": "X", "side": "BUY", "order_type": "MARKET", "quantity": "1"}
    BODY.decode(json.dumps(one).encode())
    BODY.decode(json.dumps(one | {"expire_at": "2026-01-02T03:04:05+01:00", "limit_price": "1"}).encode())
    PRICE.decode(b'{"price":"1","occurred_at":"2026-01-02T03:04:05Z"}')
    assert again == []
    suspicious = json.dumps(one | {"limit_price": None}).encode()
    BODY.decode(suspicious)
    assert again == [suspicious]


def test_what_is_not_json_is_left_to_the_decoder() -> None:
    for text in (b"{", b"", b"\xff", b"[" * 100_000, b'{"a":1,"a":'):
        refuse_repeated_keys(text)
    refuse_repeated_keys(b'[{"a":1},{"a":' + b"9" * 5000 + b"}]")
    with pytest.raises(msgspec.DecodeError, match="truncated"):
        decode(msgspec.json.Decoder(dict[str, int]), b"{", lambda _: 0)


def test_the_refusal_names_the_text_that_cannot_be_read() -> None:
    content = PRICE.decode(b'{"price":"1","occurred_at":"yesterday"}')
    with pytest.raises(Refusal) as caught:
        PRICE.form.command(content, uuid4(), NOW, "alice/binance/simulated", "X")
    assert (caught.value.code, caught.value.details) == ("invalid-command", {"field": "occurred_at"})


def arguments_of(commands: Sequence[type[Command]]) -> set[str]:
    return {name for command in commands for name in command.__struct_fields__}


def test_no_field_of_a_command_is_forgotten() -> None:
    """Every field is in the line, or is one that every command has."""
    lines = CommandLines(COMMANDS)
    keys = {key for form in lines.forms for key in form.type.__struct_encode_fields__}
    known = {"command_id", "received_at", "limits", "transact_time"}
    assert arguments_of(COMMANDS) - known <= keys
    assert set(RiskLimits.__struct_fields__) | {"occurred_at"} <= keys
