"""A decider: what a domain gives to the event store (Jérémie Chassaing's functional event sourcing).

``decide`` and ``evolve`` are pure functions. The state that they share is an immutable value, so a speculative state
can be thrown away at no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from foldbook.errors import UnreadableEvent
from foldbook.eventstore.events import Command, Event, EventTypes, Payload

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Decider(Generic[S]):
    """One type of aggregate.

    A state need not remember every subject for ever. ``forgotten(command, state)`` says whether the command's subject
    is absent from the state, so that it may exist only in the log. ``recall(state, events)`` returns the state with
    that subject folded back in from its own events, to decide one command. A command that creates its subject is
    instead decided as if the subject did not exist, and the append checks that. A decider without the two remembers
    everything.
    """

    name: str
    """The aggregate type: ``aggregate_type`` of its commands and, in the log, of their events."""
    state_type: type[S]
    initial: S
    command_types: tuple[type[Command], ...]
    event_types: EventTypes
    decide: Callable[[Any, S], Sequence[Event]]
    """(command, state) -> events. Raises ``Refusal``. No events: nothing is left to do, because it was done before."""
    evolve: Callable[[S, Any], S]
    forgotten: Callable[[Any, S], bool] | None = None
    recall: Callable[[S, Iterable[Any]], S] | None = None

    def __post_init__(self) -> None:
        foreign = [t.__name__ for t in self.command_types if t.aggregate_type != self.name]
        if foreign:
            raise ValueError(f"{', '.join(foreign)}: the aggregate type is not {self.name!r}")
        if (self.forgotten is None) != (self.recall is None):
            raise ValueError("forgotten and recall belong together")

    def has_forgotten(self, command: Command, state: S) -> bool:
        """Must the command's subject be looked up in the log before ``command`` can be decided?"""
        return self.forgotten is not None and self.forgotten(command, state)

    def decide_recalling(self, command: Command, state: S, past: Iterable[Event]) -> Sequence[Event]:
        """Decide on ``state``, with the events of a subject that it has forgotten folded back in, if there are any.

        Raises ``UnreadableEvent`` for events that cannot be folded.
        """
        if past:
            assert self.recall is not None
            try:
                state = self.recall(state, past)
            except Exception as error:
                raise UnreadableEvent(f"events about {command.subject!r} cannot be folded: {error!r}") from error
        return self.decide(command, state)

    def evolve_recorded(self, state: S, type_name: str, schema_version: int, payload: Payload) -> S:
        """The state after an event of the log. Raises ``UnknownEvent``, or ``UnreadableEvent`` for one that cannot be
        read or folded."""
        event = self.event_types.decode(type_name, schema_version, payload)
        try:
            return self.evolve(state, event)
        except Exception as error:  # Arithmetic, for a number that no program writes.
            raise UnreadableEvent.of(type_name, schema_version, f"it cannot be folded: {error!r}") from error

    def fold(self, events: Iterable[Event], state: S | None = None) -> S:
        """The state after ``events``, starting from ``state`` or from the initial state."""
        folded = self.initial if state is None else state
        for event in events:
            folded = self.evolve(folded, event)
        return folded
