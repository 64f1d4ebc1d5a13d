"""The venue is killed in the middle of everything, and starts again: nothing that it told is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.venue.running import ACCOUNT, RunningVenue, Stream, order, quote, running

PAGE = {"limit": 1000}


class Senders:
    """They keep sending orders, and remember what was answered."""

    def __init__(self, venue: RunningVenue) -> None:
        self._venue = venue
        self._enough = asyncio.Event()
        self.sent: list[str] = []
        self.known: dict[str, dict[str, Any]] = {}
        self.frames: list[dict[str, Any]] = []

    async def until_killed(self, round_number: int) -> None:
        """Send and listen, until the venue is killed in the middle of it."""
        self._enough.clear()
        target = len(self.known) + 300
        async with self._venue.stream() as reports:
            listening = asyncio.create_task(self._listen(reports))
            sending = [asyncio.create_task(self._send(f"{name}{round_number}", target)) for name in "abcd"]
            await self._enough.wait()
            await asyncio.to_thread(self._venue.end, signal.SIGKILL)
            await asyncio.gather(*sending, listening)

    async def _listen(self, reports: Stream) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.frames.append(await reports.next())

    async def _send(self, name: str, target: int) -> None:
        account = f"{name}/x/simulated"
        async with self._venue.client() as client:
            with contextlib.suppress(httpx.TransportError):
                for number in itertools.count(1):
                    order_id = f"{name}-{number}"
                    self.sent.append(order_id)
                    side = "BUY" if number % 2 else "SELL"
                    body = order(order_id, side, "1", account=account, limit_price="100")
                    self.known[order_id] = (await client.post("/orders", json=body)).json()
                    if number % 3 == 0:
                        await client.post(f"/orders/{order_id}/cancel", json={"account": account})
                    if number % 5 == 0:
                        await client.put("/quotes", json=quote("99", "101"))
                    if len(self.known) > target:
                        self._enough.set()


async def everything(client: httpx.AsyncClient) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All orders and all fills."""
    orders: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = (await client.get("/orders", params={**PAGE, "after": after})).json()
        orders += page["orders"]
        after = page.get("next")
    fills: list[dict[str, Any]] = []
    last, has_more = 0, True
    while has_more:
        page = (await client.get("/fills", params={**PAGE, "after": last})).json()
        fills += page["fills"]
        last, has_more = page["next"], page["has_more"]
    return orders, fills


async def test_killed_in_the_middle_of_a_stream_of_orders(tmp_path: Path) -> None:
    with running(tmp_path) as venue:
        senders = Senders(venue)
        for round_number in range(3):
            await senders.until_killed(round_number)
            await asyncio.to_thread(venue.start)
            async with venue.client() as client:
                orders, fills = await everything(client)
                check(senders, orders, fills)
                again = order(orders[0]["client_order_id"], account=orders[0]["account"])
                answer = await client.post("/orders", json=again)
                assert answer.status_code == 200 and answer.json() == orders[0] | {"duplicate": True}


def check(senders: Senders, orders: list[dict[str, Any]], fills: list[dict[str, Any]]) -> None:
    """All that was told is there, once, and nothing that nobody sent."""
    by_client_id = {each["client_order_id"]: each for each in orders}
    assert len(by_client_id) == len(orders)
    for order_id, answered in senders.known.items():
        assert by_client_id[order_id]["venue_order_id"] == answered["venue_order_id"]
        assert by_client_id[order_id]["created_at"] == answered["created_at"]
    assert set(by_client_id) <= set(senders.sent)
    assert [each["venue_order_id"] for each in orders] == [f"v{number + 1}" for number in range(len(orders))]
    by_seq = {fill["seq"]: fill for fill in fills}
    trades = [frame for frame in senders.frames if frame["kind"] == "TRADE"]
    assert trades and all(by_seq[frame["seq"]] == frame for frame in trades)
    assert all(frame["client_order_id"] in by_client_id for frame in senders.frames)
    assert len({frame["seq"] for frame in senders.frames}) == len(senders.frames)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_everything_is_there_again(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, "--fee", "taker=0.001") as venue:
        async with venue.client() as client:
            await client.put("/instruments/X", json={"tick_size": "0.5", "multiplier": "2"})
            await client.put("/quotes", json=quote("99", "101", bid_size="3", ask_size="5"))
            await client.post("/orders", json=order("rests", limit_price="50"))
            await client.post("/orders", json=order("waits"))
            await client.put("/quotes", json=quote("99", "101", bid_size="3", ask_size="5"))
            await client.post("/fees", json={"account": ACCOUNT, "currency": "EUR", "amount": "3"})
            await client.post("/sessions/close")
            asked = ("/orders", "/fills", f"/positions?account={ACCOUNT}", f"/balances?account={ACCOUNT}",
                     "/instruments", "/quotes")  # fmt: skip

            async def answers(using: httpx.AsyncClient) -> list[dict[str, Any]]:
                documents = [(await using.get(path)).json() for path in asked]
                return [{name: value for name, value in each.items() if name != "time"} for each in documents]

            before = await answers(client)
        await asyncio.to_thread(venue.restart, number)
        async with venue.client() as client:
            assert await answers(client) == before
            assert (await client.get("/health")).json()["is_open"] is False
            await client.post("/sessions/open")
            await client.put("/quotes", json=quote("99", "101"))
            last = (await client.get("/fills")).json()["fills"][-1]
            assert (last["client_order_id"], last["last_qty"], last["exec_id"]) == ("waits", "5", "x2")


async def test_an_order_that_was_to_be_refused_late_is_refused_after_the_restart(tmp_path: Path) -> None:
    with running(tmp_path) as venue:
        async with venue.client() as client:
            await client.put("/faults", json={"refuse_late": 1})
            await client.post("/orders", json=order("o", limit_price="50"))
        await asyncio.to_thread(venue.restart, signal.SIGKILL)
        async with venue.client() as client:
            (known,) = (await client.get("/orders")).json()["orders"]
            assert known["status"] == "REJECTED"


async def test_a_torn_journal(tmp_path: Path) -> None:
    with running(tmp_path) as venue:
        async with venue.client() as client:
            await client.post("/orders", json=order("o", limit_price="50"))
        venue.end(signal.SIGKILL)
        (journal,) = tmp_path.glob("journal-*")
        with journal.open("ab") as file:
            file.write(b'0123abcd ["Submi')
        venue.start()
        async with venue.client() as client:
            (known,) = (await client.get("/orders")).json()["orders"]
            assert known["client_order_id"] == "o"


def test_a_second_venue_on_the_folder_is_told_so(tmp_path: Path) -> None:
    with running(tmp_path) as venue:
        command = [word for word in venue.command if word != "--until-stdin-closes"]
        done = subprocess.run(command, env=venue.environment, capture_output=True, text=True)
        assert done.returncode == 1
        assert "another venue runs on" in done.stderr


async def test_times_that_a_snapshot_cannot_keep_are_refused(tmp_path: Path) -> None:
    datum = {"symbol": "X", "bid": "1", "ask": "2", "price": "1", "open": "1", "high": "1", "low": "1", "close": "1"}
    fields = {
        "quotes": ("bid", "ask"),
        "trades": ("price",),
        "opens": ("price",),
        "bars": ("open", "high", "low", "close"),
    }
    good = order("kept", limit_price="50", time_in_force="GTD", expire_at="2262-01-01T00:00:00Z")
    with running(tmp_path) as venue:
        async with venue.client() as client:
            for time in (
                "9999-12-31T23:59:59-01:00",
                "9999-12-31T23:59:59Z",
                "2263-01-01T00:00:00Z",
                "0001-01-01T00:00:00+01:00",
            ):
                for path, names in fields.items():
                    told = {name: datum[name] for name in ("symbol", *names)} | {"time": time}
                    answer = await client.put(f"/{path}", json=told)
                    assert (answer.status_code, answer.json()["type"]) == (422, "urn:foldbook:problem:invalid-request")
                answer = await client.post("/orders", json=good | {"client_order_id": "o", "expire_at": time})
                assert (answer.status_code, answer.json()["type"]) == (422, "urn:foldbook:problem:invalid-request")
            assert (await client.post("/orders", json=good)).status_code == 201
            assert (await client.get("/quotes")).status_code == 200
        await asyncio.to_thread(venue.restart, signal.SIGTERM)
        assert list(tmp_path.glob("snapshot*")), "it could be written"
        async with venue.client() as client:
            (known,) = (await client.get("/orders")).json()["orders"]
            assert known["client_order_id"] == "kept"
