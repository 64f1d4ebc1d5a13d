"""Given, when, then: how to specify a decider, without a log and without a bus.

::

    COUNTERS = Specification(COUNTER)

    def test_a_counter_stops_at_its_limit() -> None:
        COUNTERS.given(Added(amount=999, total=999)).when(Add(amount=2)).then_refused("counter-too-high")

A command is decided as the bus decides it. If the state has forgotten the command's subject, it is recalled from the
given events and from those of earlier commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from foldbook.errors import Refusal
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import Command, Event

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Specification(Generic[S]):
    """A decider and what has happened so far."""

    decider: Decider[S]
    history: tuple[Event, ...] = ()

    def given(self, *events: Event) -> Specification[S]:
        """The specification after more events."""
        return Specification(self.decider, (*self.history, *events))

    @property
    def state(self) -> S:
        """The fold of what has happened."""
        return self.decider.fold(self.history)

    def when(self, *commands: Command) -> Outcome[S]:
        """Decide the commands, each on the state that the one before left. Raises a ``Refusal`` of any but the last."""
        *earlier, last = commands
        before = self
        for command in earlier:
            before = before.given(*before.decide(command))
        try:
            return Outcome(before, tuple(before.decide(last)), None)
        except Refusal as refusal:
            return Outcome(before, (), refusal)

    def decide(self, command: Command) -> Sequence[Event]:
        """The events of the command. Raises ``Refusal``."""
        decider, state = self.decider, self.state
        past: Sequence[Event] = ()
        if decider.has_forgotten(command, state):
            past = [event for event in self.history if event.subject == command.subject]
        return decider.decide_recalling(command, state, past)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[S]):
    """What the last command led to: ``events``, or why it was refused."""

    before: Specification[S]
    events: tuple[Event, ...]
    refusal: Refusal | None

    @property
    def after(self) -> Specification[S]:
        """The specification after these events, to continue from."""
        return self.before.given(*self.events)

    @property
    def state(self) -> S:
        return self.after.state

    def then(self, *events: Event) -> Outcome[S]:
        """Assert that it led to exactly these events."""
        if self.refusal is not None:
            raise AssertionError(f"refused: {self.refusal.code}: {self.refusal}")
        assert self.events == events, f"expected {events}, got {self.events}"
        return self

    def then_nothing(self) -> Outcome[S]:
        """Assert that it led to no events."""
        return self.then()

    def then_refused(self, code: str, **details: object) -> Outcome[S]:
        """Assert that it was refused with this code and, if given, these details."""
        if self.refusal is None:
            raise AssertionError(f"accepted: {self.events}")
        found = {name: self.refusal.details.get(name) for name in details}
        assert (self.refusal.code, found) == (code, details), f"refused: {self.refusal.code} {self.refusal.details}"
        return self
