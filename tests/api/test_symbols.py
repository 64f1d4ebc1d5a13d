"""Symbols as exchanges, brokers and data vendors write them: in paths, in parameters, in bodies, in answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import given
from hypothesis import strategies as st

from foldbook.api.commands.calls import CommandCall
from foldbook.api.escapes import canonical_path, name_in, segment_of
from foldbook.api.front import Front
from foldbook.api.problems import Problem
from foldbook.eventstore.declaration import Call
from foldbook.trading.commands import RecordPrice
from foldbook.trading.values import SYMBOL
from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem, order

SYMBOLS = [
    "BTC/USDT",
    "BTC/USDT:USDT",
    "BTC-USDT",
    "ES=F",
    "^SPX",
    "AAPL  240119C00150000",
    "/ES",
    "/..",
    "BTC/",
    "#BRK.B",
    "EUR+USD",
    "A&B=C",
    "$SPX",
    "history",
]


def path_to(symbol: str) -> str:
    return quote(symbol, safe="")


def url(engine: Engine, path: str) -> httpx.URL:
    """Sent as it is, whatever it contains."""
    return engine.client.base_url.copy_with(raw_path=path.encode())


async def ask(engine: Engine, method: str, path: str, **options: Any) -> httpx.Response:
    return await engine.client.request(method, url(engine, path), **options)


async def test_every_call_and_every_query_takes_every_symbol(engine: Engine) -> None:
    await engine.open()
    for number, symbol in enumerate(SYMBOLS):
        segment = path_to(symbol)
        for path, body in ((f"instruments/{segment}", {"tick_size": "0.5"}), (f"prices/{segment}", {"price": "7"})):
            response = await ask(engine, "PUT", f"{AT}/{path}", json=body)
            assert response.status_code == 200, (symbol, response.text)
        await engine.put(f"{AT}/risk", {"symbol": symbol, "max_position": "1000"})
        await engine.place(f"o-{number}", symbol=symbol)
        last = await engine.trade(f"e-{number}", "1", "7", f"o-{number}")

    for symbol in SYMBOLS:
        segment = path_to(symbol)
        for path in (f"instruments/{segment}", f"positions/{segment}"):
            response = await ask(engine, "GET", f"{AT}/{path}?min_position={last['position']}")
            assert (response.status_code, response.json().get("symbol")) == (200, symbol), response.text
        response = await ask(engine, "GET", f"{AT}/positions/{segment}/history")
        assert len(response.json()["executions"]) == 1
        for path, name in (("/fills", "fills"), (f"{AT}/orders", "orders")):
            (found,) = (await engine.get(path, symbol=symbol))[name]
            assert found["symbol"] == symbol

    traded = sorted(SYMBOLS)
    assert sorted((await engine.get(f"{AT}/risk"))["symbols"]) == traded
    for path, name in (("positions", "positions"), ("instruments", "instruments"), ("prices", "prices")):
        seen = []
        after: dict[str, str] = {}
        while True:
            page = await engine.get(f"{AT}/{path}", limit=3, **after)
            seen += [one["symbol"] for one in page[name]]
            if "next" not in page:
                break
            after = {"after": page["next"]}
        assert sorted(seen) == traded


async def test_every_spelling_of_a_path_is_the_same(engine: Engine) -> None:
    await engine.open()
    for spelling in ("BTC%2FUSDT%3AUSDT", "BTC%2fUSDT:USDT"):
        path = f"{AT}/prices/{spelling}"
        last = (await ask(engine, "PUT", path, json={"price": "1", "occurred_at": "2026-01-02T03:04:05Z"})).json()
        put = await ask(engine, "PUT", f"{AT}/instruments/{spelling}/", json={})
        assert put.status_code == 200
        got = await ask(engine, "GET", f"{AT}/instruments/{spelling}")
        assert (got.status_code, got.json()["symbol"]) == (200, "BTC/USDT:USDT")
    prices = (await engine.get(f"{AT}/prices", min_position=last["position"]))["prices"]
    assert [price["symbol"] for price in prices] == ["BTC/USDT:USDT"]
    # A plus is a plus in a path, and a space in a parameter.
    await ask(engine, "PUT", f"{AT}/instruments/A+B", json={})
    last = (await ask(engine, "PUT", f"{AT}/instruments/A%20B", json={})).json()
    answer = await ask(engine, "GET", f"{AT}/instruments?after=A+A&min_position={last['position']}")
    assert [one["symbol"] for one in answer.json()["instruments"]][:2] == ["A B", "A+B"]


async def test_a_slash_in_a_name_gives_a_path_no_other_meaning(engine: Engine) -> None:
    await engine.open()
    for path, code in (
        ("al%2Fice/binance/simulated", "unknown-account"),
        ("alice%2Fbinance%2Fsimulated/x/simulated", "unknown-account"),
        ("alice/binance%2Fx/simulated", "unknown-account"),
        ("alice/binance/simulated%2F", "unknown-account"),
        ("alice/binance/simulated%00", "unknown-account"),
        ("alice/binance/simulated%20", "unknown-account"),
        ("alice/binance%252Fx/simulated", "unknown-account"),
        ("alice%2Fbinance/simulated", "not-found"),
        ("alice%2Fbinance%2Fsimulated", "not-found"),
        ("alice/binance/simulated%2Fbook", "unknown-account"),
    ):
        assert_problem(await ask(engine, "GET", f"/accounts/{path}"), 404, code)
        for method, rest in (("GET", "/risk"), ("PUT", "/risk"), ("POST", "/halt"), ("GET", "/positions")):
            response = await ask(engine, method, f"/accounts/{path}{rest}", json=None if method == "GET" else {})
            assert response.status_code in (404, 405), response.text
    assert (await engine.get("/events"))["head"] == 1


async def test_what_no_name_can_be_is_unknown(engine: Engine) -> None:
    await engine.open()
    last = await engine.place()
    await engine.get(f"{AT}/orders/o-1", min_position=last["position"])
    for path, code in (
        ("orders/o%2F1", "unknown-order"),
        ("orders/o-1%2Fhistory", "unknown-order"),
        ("orders/o-1%252Fhistory", "unknown-order"),
        ("positions/BTC-USDT%2Fhistory", "unknown-position"),
        ("positions/BTC%252FUSDT", "unknown-position"),
        ("positions/BTC-USDT%20", "unknown-position"),
        ("positions/%20BTC-USDT", "unknown-position"),
        ("instruments/X%0A", "unknown-instrument"),
        ("instruments/%C3%A4", "unknown-instrument"),
        ("instruments%2FBTC-USDT", "not-found"),
    ):
        assert_problem(await ask(engine, "GET", f"{AT}/{path}"), 404, code)


NOT_SYMBOLS = (" ", "X ", " X", "X\0", "X\n", "ä", "-X", "X%", "BTC%2FUSDT", "X|quote", "X" * 65)


async def test_what_no_symbol_can_be_is_refused(engine: Engine) -> None:
    await engine.open()
    for symbol in NOT_SYMBOLS:
        segment = path_to(symbol)
        bodies = {
            f"PUT {AT}/instruments/{segment}": {},
            f"PUT {AT}/prices/{segment}": {"price": "1"},
            f"PUT {AT}/risk": {"symbol": symbol},
            f"POST {AT}/orders": order(symbol=symbol),
        }
        for call, body in bodies.items():
            response = await ask(engine, *call.split(" "), json=body)
            assert_problem(response, 422, "invalid-command", field="symbol")
        for path in (f"{AT}/orders?symbol", f"{AT}/positions?after", f"{AT}/prices?after", "/fills?symbol"):
            response = await ask(engine, "GET", f"{path}={segment}")
            assert_problem(response, 400, "malformed", field=path.partition("?")[2])


async def test_a_path_that_cannot_be_read_is_malformed(engine: Engine) -> None:
    await engine.open()
    for spelling in ("%", "%2", "%2G", "%%32", "X%", "%FF", "%C3", "%ED%A0%80", "%C0%AF"):
        for method, path in (
            ("GET", f"{AT}/positions/{spelling}"),
            ("GET", f"{AT}/orders/{spelling}"),
            ("PUT", f"{AT}/prices/{spelling}"),
            ("POST", f"/accounts/{spelling}/binance/simulated/orders"),
            ("DELETE", f"/{spelling}"),
        ):
            assert_problem(await ask(engine, method, path, json={}), 400, "malformed")


async def test_parameters_that_cannot_be_decoded_are_malformed(engine: Engine) -> None:
    await engine.open()
    for text in ("%FF", "%", "%ZZ"):
        assert_problem(await ask(engine, "GET", f"{AT}/orders?symbol={text}"), 400, "malformed", field="symbol")


# -- the spelling of paths ---------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=20))
def test_a_name_is_read_as_it_was_written(name: str) -> None:
    for written in (path_to(name), "".join(f"%{byte:02x}" for byte in name.encode()), segment_of(name)):
        segment = canonical_path(written.encode())
        assert "/" not in segment
        assert name_in(segment) == name
        assert canonical_path(segment.encode()) == segment, "the spelling is the last one"


@given(st.lists(st.sampled_from([b"%", b"/", b"2F", b"25", b"C3", b"%C3%A4", b"a", b" ", b"\xc3"])).map(b"".join))
def test_any_path_is_read_or_malformed(raw: bytes) -> None:
    with suppress(Problem):
        path = canonical_path(raw)
        assert path.isascii()
        assert path.count("/") == raw.count(b"/")


@given(st.from_regex(SYMBOL, fullmatch=True))
def test_every_symbol_fits_into_a_path(symbol: str) -> None:
    call = CommandCall(RecordPrice, RecordPrice.declaration.calls[0])
    path = canonical_path(f"{AT}/prices/{path_to(symbol)}".encode())
    assert call.match(path) == (ACCOUNT, symbol)


def test_a_location_escapes_what_a_segment_cannot_contain() -> None:
    call = Call(method="POST", path="/prices", creates="/accounts/{account}/prices/{symbol}")
    location = CommandCall(RecordPrice, call)._location
    assert location is not None
    for symbol, segment in (
        ("BTC-USDT", "BTC-USDT"),
        ("BTC:USDT", "BTC:USDT"),
        ("BTC/USDT:USDT", "BTC%2FUSDT:USDT"),
        ("AAPL  240119C00150000", "AAPL%20%20240119C00150000"),
        ("^SPX", "%5ESPX"),
    ):
        command = RecordPrice(command_id=None, received_at=None, account=ACCOUNT, symbol=symbol, price=None)  # type: ignore[arg-type]
        assert location(command).decode() == f"{AT}/prices/{segment}"


async def test_a_server_that_does_not_say_how_a_path_was_sent(engine: Engine) -> None:
    """``raw_path`` is optional in ASGI. Only a slash in a name is then lost."""
    await engine.open()
    app = engine.server.config.app
    assert isinstance(app, Front)

    async def get(path: str) -> int:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "root_path": "",
        }
        await app(scope, receive, send)
        status: int = sent[0]["status"]
        return status

    last = await engine.put(f"{AT}/instruments/A%20B", {})
    await engine.get(f"{AT}/instruments", min_position=last["position"])
    assert await get(f"{AT}/instruments/A B") == 200
    assert await get(f"{AT}/instruments/nothing") == 404
    assert await get(f"{AT}/instruments/100% ä") == 404
