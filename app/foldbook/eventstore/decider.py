"""A decider: what a domain tells the event store about itself (Jérémie Chassaing's functional event sourcing).

``decide`` and ``evolve`` are pure functions; the state they share is an immutable value, so a speculative state costs
nothing to throw away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from foldbook.eventstore.events import Command, Event, EventTypes

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Decider(Generic[S]):
    """One kind of aggregate.

    A state need not remember every subject for ever. ``forgotten(command, state)`` says whether the command's subject
    is absent from the state, and may therefore live only in the log; ``recall(state, events)`` returns the state with
    that subject folded back in from its own events, to decide one command with. A command that creates its subject is
    decided on its absence instead, and the append checks that absence.
    """

    name: str
    state_type: type[S]
    initial: S
    event_types: EventTypes
    decide: Callable[[Any, S], Sequence[Event]]
    """(command, state) -> events. Raises ``Refusal``. No event: nothing left to do, it was done before."""
    evolve: Callable[[S, Event], S]
    forgotten: Callable[[Command, S], bool]
    recall: Callable[[S, Iterable[Event]], S]
    fold_version: int = 1
    """Counts the changes of ``evolve`` that leave the shape of the state as it is: older snapshots are ignored."""

    def fold(self, events: Iterable[Event], state: S | None = None) -> S:
        """The state after ``events``, from ``state`` or from nothing."""
        folded = self.initial if state is None else state
        for event in events:
            folded = self.evolve(folded, event)
        return folded
