"""A second kind of aggregate: a counter, in the same log as the order books, as docs/extend.md writes it."""

from __future__ import annotations

from collections.abc import Sequence

from foldbook.errors import Refusal, register
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import Command, Event, EventTypes

register({"counter-too-high": (409, "The counter cannot go that high")})
COUNT_MAX = 1_000


class Add(Command, frozen=True, kw_only=True):
    """Adds to a counter, which begins at 0."""

    aggregate_type = "counter"

    counter_id: str
    amount: int

    @property
    def aggregate_id(self) -> str:
        return self.counter_id


class Added(Event, frozen=True, kw_only=True):
    amount: int
    total: int


def decide(command: Add, total: int) -> Sequence[Event]:
    if total + command.amount > COUNT_MAX:
        raise Refusal("counter-too-high", f"{total} and {command.amount} is more than {COUNT_MAX}", total=total)
    return (Added(amount=command.amount, total=total + command.amount),)


COUNTER = Decider("counter", int, 0, (Add,), EventTypes((Added,)), decide, lambda _, event: event.total)
