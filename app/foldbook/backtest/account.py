"""The account of a backtest: the real decider, driven one command at a time, and what came of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from foldbook.eventstore.events import Event
from foldbook.trading.book import ORDER_BOOK, Book
from foldbook.trading.commands import BookCommand

CLOSED_MAX = 10_000
"""Closed orders whose events are kept, for reports that come late."""


class Sink(Protocol):
    """Where commands and their events go, in order."""

    def record(self, command: BookCommand, events: Sequence[Event]) -> None: ...


class Account:
    """The order book of one account."""

    def __init__(self, sink: Sink) -> None:
        self.book: Book = ORDER_BOOK.initial
        self._sink = sink
        self._events: dict[str, list[Event]] = {}
        self._closed: OrderedDict[str, list[Event]] = OrderedDict()

    def execute(self, command: BookCommand) -> Sequence[Event]:
        """Raises ``Refusal``: then nothing has happened."""
        book = self.book
        subject = command.subject
        if subject is None or command.creates_subject or not ORDER_BOOK.has_forgotten(command, book):
            events = ORDER_BOOK.decide(command, book)
        else:
            events = ORDER_BOOK.decide_recalling(command, book, self._closed.get(subject, ()))
        for event in events:
            book = ORDER_BOOK.evolve(book, event)
        self.book = book
        if events:
            self._remember(events)
        self._sink.record(command, events)
        return events

    def _remember(self, events: Sequence[Any]) -> None:
        for event in events:
            order_id = event.subject
            if order_id is None:
                continue
            known = self._events.get(order_id)
            if known is None:
                known = self._events[order_id] = self._closed.pop(order_id, [])
            known.append(event)
            if order_id not in self.book.orders:
                self._closed[order_id] = self._events.pop(order_id)
                if len(self._closed) > CLOSED_MAX:
                    self._closed.popitem(last=False)
