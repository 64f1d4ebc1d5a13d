"""Reads server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Message(NamedTuple):
    """``id``: the last one that was given, here or before. Without ``data`` it only moves the id."""

    id: str
    event: str
    data: bytes


class Parser:
    """Takes a stream in pieces of any size. Lines end with LF or CRLF."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""
        self._event = ""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[Message]:
        """The messages that are complete now."""
        *lines, self._rest = (self._rest + piece).split(b"\n") if self._rest else piece.split(b"\n")
        for line in (one.removesuffix(b"\r") for one in lines):
            if line:
                self._read(line)
            else:
                yield Message(self._id, self._event, b"\n".join(self._data))
                self._event = ""
                self._data.clear()

    def _read(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
            case b"event":
                self._event = value.decode()
            case b"id" if b"\0" not in value:
                self._id = value.decode()
