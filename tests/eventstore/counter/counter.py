"""A second kind of aggregate: a counter, in the same log as the order books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from foldbook.errors import Refusal, register
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.declaration import Call, Declaration, InPath
from foldbook.eventstore.events import Command, Event, EventTypes

register({"counter-too-high": (409, "The counter cannot go that high")})


class Add(Command, frozen=True, kw_only=True):
    """Add to a counter, which begins at 0."""

    aggregate_type = "counter"
    declaration: ClassVar = Declaration(
        role="trader",
        calls=(Call(method="POST", path="/counters/{counter_id}/add"),),
        refusals=("counter-too-high",),
    )

    counter_id: Annotated[str, Meta(pattern="^[a-z0-9/]{1,40}$"), InPath()]
    amount: Annotated[int, Meta(ge=1, le=1_000)]

    @property
    def aggregate_id(self) -> str:
        return self.counter_id


class Added(Event, frozen=True, kw_only=True):
    total: int


def decide(command: Add, total: int) -> Sequence[Event]:
    if total + command.amount > 1_000:
        raise Refusal("counter-too-high", f"{total} and {command.amount} is more than 1000", total=total)
    return (Added(total=total + command.amount),)


COUNTER = Decider("counter", int, 0, (Add,), EventTypes((Added,)), decide, lambda _, event: event.total)
