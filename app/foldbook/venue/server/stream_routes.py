"""The two streams over WebSocket: reports, and market data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

from foldbook.venue.messages import QuoteTold
from foldbook.venue.server.documents import market_frame, time_text
from foldbook.venue.server.streams import Ended, MarketListener, ReportListener
from foldbook.venue.server.venue import Venue

Socket: TypeAlias = WebSocket[Any, Any, Any]

CLOSE_ENDED = 1001
"""RFC 6455: the server goes away, or ends the stream."""
_encode = msgspec.json.Encoder().encode


@websocket("/reports")
async def stream_reports(socket: Socket, venue: Venue, account: str | None = None) -> None:
    """Reports as they happen, of an account or of all; first HELLO, as soon as none will be missed."""
    await socket.accept()
    listener = ReportListener(account)
    listener.add(venue.hello())
    venue.telling.listeners.add(listener)
    try:
        await _send(socket, listener.next, listener.end)
    finally:
        venue.telling.listeners.discard(listener)


@websocket("/market")
async def stream_market(socket: Socket, venue: Venue, symbols: str | None = None) -> None:
    """Market data as it comes, of some symbols or of all; first HELLO and the last quotes."""
    await socket.accept()
    listener = MarketListener(None if symbols is None else frozenset(symbols.split(",")))
    listener.add("HELLO", None, venue.hello())
    for quote in venue.exchange.matching.quotes():
        if listener.wants(quote.symbol):
            told = QuoteTold(quote.time_ns, quote.symbol, quote.bid, quote.ask, quote.bid_size, quote.ask_size)
            listener.add("QUOTE", quote.symbol, _encode(market_frame(told)))
    venue.market_listeners.add(listener)
    try:
        await _send(socket, lambda: listener.next(time_text(venue.now_ns())), listener.end)
    finally:
        venue.market_listeners.discard(listener)


async def _send(socket: Socket, next_frame: Callable[[], Awaitable[bytes]], end: Callable[[str], None]) -> None:
    """Send what comes until the stream ends, or the client leaves."""
    leaving = asyncio.create_task(_until_left(socket, end))
    try:
        while True:
            await socket.send_data(await next_frame(), mode="text")
    except Ended as ended:
        if not leaving.done():
            await socket.close(CLOSE_ENDED, str(ended))
    except WebSocketDisconnect:
        pass
    finally:
        leaving.cancel()


async def _until_left(socket: Socket, end: Callable[[str], None]) -> None:
    """What a client sends is not read; that it leaves is."""
    try:
        while True:
            await socket.receive_data("text")
    except WebSocketDisconnect:
        end("the client has left")


ROUTES = (stream_reports, stream_market)
