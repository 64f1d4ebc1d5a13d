"""The two streams over WebSocket: reports, and market data."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias, cast

import msgspec
from litestar import WebSocket, websocket

from foldbook.venue.data import quote_told
from foldbook.venue.server.documents import market_frame, time_text
from foldbook.venue.server.streams import BATCH_MAX, Listener, MarketListener, ReportListener, until_one_ends
from foldbook.venue.server.venue import Venue
from foldbook.wire.connections import CONNECTION

Socket: TypeAlias = WebSocket[Any, Any, Any]

CLOSE_ENDED = 1001
"""RFC 6455: the server goes away, or ends the stream."""
GOODBYE_S = 1
"""How long a client has to take it."""
_encode = msgspec.json.Encoder().encode


@websocket("/reports")
async def stream_reports(socket: Socket, venue: Venue, account: str | None = None, batch: bool = False) -> None:
    """Reports as they happen, of an account or of all; first HELLO, as soon as none will be missed. ``batch``: what
    waits is sent together, a line each."""
    await socket.accept()
    listener = ReportListener(account, batch_max=BATCH_MAX if batch else 1)
    listener.add(venue.hello())
    venue.telling.listeners.add(listener)
    try:
        await _send(socket, listener)
    finally:
        venue.telling.listeners.discard(listener)


@websocket("/market")
async def stream_market(socket: Socket, venue: Venue, symbols: str | None = None) -> None:
    """Market data as it comes, of some symbols or of all; first HELLO and the last quotes."""
    await socket.accept()
    wanted = None if symbols is None else frozenset(symbols.split(","))
    listener = MarketListener(wanted, lambda: time_text(venue.now_ns()), venue.hello())
    for quote in venue.exchange.matching.quotes():
        if listener.wants(quote.symbol):
            listener.add("QUOTE", quote.symbol, _encode(market_frame(quote_told(quote))))
    venue.market_listeners.add(listener)
    try:
        await _send(socket, listener)
    finally:
        venue.market_listeners.discard(listener)


async def _send(socket: Socket, listener: Listener) -> None:
    """Send what comes until the stream ends, or the client leaves."""
    await until_one_ends(_send_all(socket, listener), _until_left(socket), listener.ended.wait())
    if listener.ended.is_set():
        await _close(socket, listener.why_ended)


async def _send_all(socket: Socket, listener: Listener) -> None:
    while True:
        await socket.send_data(await listener.next(), mode="text")


async def _until_left(socket: Socket) -> None:
    """What a client sends is not read; that it leaves is."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _close(socket: Socket, why: str) -> None:
    """Say goodbye; a client that does not read is hung up on."""
    try:
        async with asyncio.timeout(GOODBYE_S):
            await socket.close(CLOSE_ENDED, why)
    except TimeoutError:
        cast(dict[str, Any], socket.scope)[CONNECTION].transport.abort()


ROUTES = (stream_reports, stream_market)
