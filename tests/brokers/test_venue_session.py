"""A session at the venue: what becomes of requests when the connection, or the patience, ends first."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest

from foldbook.brokers.port import BrokerUnavailable
from foldbook.brokers.venue_session import VenueAnswer, VenueSession


class Socket:
    """A connection whose other end is the test. While ``can_send`` is not set, a frame is not taken."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()
        self.can_send = asyncio.Event()
        self.can_send.set()
        self.is_closed = False
        self._received: asyncio.Queue[str | None] = asyncio.Queue()

    def tell(self, *lines: str) -> None:
        self._received.put_nowait("\n".join(lines))

    def end(self) -> None:
        self._received.put_nowait(None)

    # -- what the session uses of it -------------------------------------------------------------------------------

    def __aiter__(self) -> Socket:
        return self

    async def __anext__(self) -> aiohttp.WSMessage:
        frame = await self._received.get()
        if frame is None:
            raise StopAsyncIteration
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, frame, None)

    async def send_str(self, frame: str) -> None:
        self.frames.put_nowait([msgspec.json.decode(line) for line in frame.split("\n")])
        await self.can_send.wait()
        if self.is_closed:
            raise aiohttp.ClientConnectionResetError("gone")

    async def close(self) -> None:
        self.is_closed = True


class Venue:
    """Opens connections, if it can be reached."""

    def __init__(self) -> None:
        self.sockets: list[Socket] = []
        self.is_there = True

    async def connect(self) -> Any:
        await asyncio.sleep(0)
        if not self.is_there:
            raise ConnectionRefusedError
        self.sockets.append(Socket())
        return self.sockets[-1]


def ask(session: VenueSession, account: str) -> asyncio.Task[VenueAnswer]:
    return asyncio.create_task(session.ask("cancel", {"account": account, "request_id": None}))


def line(number: int, order_id: str) -> str:
    return msgspec.json.encode({"id": number, "result": {"order": order_id}}).decode()


def result(answer: VenueAnswer) -> Any:
    return msgspec.json.decode(answer.result)


async def test_answers_find_their_requests_over_one_connection() -> None:
    venue = Venue()
    session = VenueSession(venue.connect)
    asked = [ask(session, name) for name in "abc"]
    (first,) = asked[:1]
    frames: list[dict[str, Any]] = []
    while not venue.sockets:
        await asyncio.sleep(0)
    (socket,) = venue.sockets
    while len(frames) < 3:
        frames += await socket.frames.get()
    assert [frame["params"] for frame in frames] == [{"account": name} for name in "abc"]
    numbers = [frame["id"] for frame in frames]
    socket.tell(line(numbers[2], "C"), line(numbers[0], "A"))
    assert result(await first) == {"order": "A"}
    assert not asked[1].done()
    socket.tell(line(numbers[1], "B"))
    assert [result(await each) for each in asked] == [{"order": name} for name in "ABC"]
    await session.close()
    assert socket.is_closed and len(venue.sockets) == 1


async def test_a_lost_connection_leaves_all_that_was_asked_without_an_answer_and_the_next_opens_another() -> None:
    venue = Venue()
    session = VenueSession(venue.connect)
    asked = [ask(session, name) for name in "ab"]
    while not venue.sockets:
        await asyncio.sleep(0)
    await venue.sockets[0].frames.get()
    venue.sockets[0].end()
    for each in asked:
        with pytest.raises(BrokerUnavailable):
            await each
    assert venue.sockets[0].is_closed
    again = ask(session, "c")
    while len(venue.sockets) < 2:
        await asyncio.sleep(0)
    (request,) = await venue.sockets[1].frames.get()
    venue.sockets[1].tell(line(request["id"], "C"))
    assert result(await again) == {"order": "C"}
    await session.close()


@pytest.mark.parametrize("nonsense", ["<html>", "[]", '{"result": {}}', '{"id": null, "error": {}}'])
async def test_what_makes_no_sense_ends_the_connection(nonsense: str) -> None:
    venue = Venue()
    session = VenueSession(venue.connect)
    asked = [ask(session, name) for name in "ab"]
    while not venue.sockets:
        await asyncio.sleep(0)
    (request, *_) = await venue.sockets[0].frames.get()
    venue.sockets[0].tell(line(request["id"], "A"), nonsense)
    assert result(await asked[0]) == {"order": "A"}
    with pytest.raises(BrokerUnavailable):
        await asked[1]
    await session.close()
    assert venue.sockets[0].is_closed


async def test_what_nobody_waits_for_any_more_is_not_sent_and_its_answer_not_missed() -> None:
    venue = Venue()
    session = VenueSession(venue.connect)
    sent = ask(session, "a")
    while not venue.sockets:
        await asyncio.sleep(0)
    (socket,) = venue.sockets
    socket.can_send.clear()
    (first,) = await socket.frames.get()
    given_up, waiting = ask(session, "b"), ask(session, "c")
    await asyncio.sleep(0)
    given_up.cancel()
    sent.cancel()
    socket.can_send.set()
    (second,) = await socket.frames.get()
    assert second["params"] == {"account": "c"}
    socket.tell(line(first["id"], "A"), line(second["id"], "C"))
    assert result(await waiting) == {"order": "C"}
    await session.close()


async def test_a_connection_that_takes_nothing_any_more_is_lost() -> None:
    venue = Venue()
    session = VenueSession(venue.connect)
    asked = ask(session, "a")
    while not venue.sockets:
        await asyncio.sleep(0)
    (socket,) = venue.sockets
    socket.can_send.clear()
    await socket.frames.get()
    socket.is_closed = True
    socket.can_send.set()
    with pytest.raises(BrokerUnavailable, match="gone"):
        await asked
    await session.close()


async def test_without_a_connection_there_is_no_answer() -> None:
    venue = Venue()
    venue.is_there = False
    session = VenueSession(venue.connect)
    for each in [ask(session, name) for name in "ab"]:
        with pytest.raises(ConnectionRefusedError):
            await each
    venue.is_there = True
    asked = ask(session, "c")
    while not venue.sockets:
        await asyncio.sleep(0)
    await venue.sockets[0].frames.get()
    await session.close()
    with pytest.raises(BrokerUnavailable):
        await asked
