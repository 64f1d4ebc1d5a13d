"""The last ranges of a shard, as many as fit: what is shared by all who read the present."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.readers.tail.selection import Selection


class Entry(NamedTuple):
    """An event as it is sent. ``frame``: encoded once, for all."""

    position: int
    aggregate: AggregateKey
    type: str
    frame: bytes


Frame = Callable[[int, Any], bytes]
"""Encodes a row of ``eventstore.read_events`` of a shard."""


def entries_of(shard: int, rows: Iterable[Any], frame: Frame) -> list[Entry]:
    return [
        Entry(row["position"], AggregateKey(row["aggregate_type"], row["aggregate_id"]), row["type"], frame(shard, row))
        for row in rows
        if row["position"] is not None
    ]


class Range:
    """The events of (after, to]. ``selected``: for each selection that has some there, those. ``seal``: a frame that
    says which commit they end with."""

    __slots__ = ("_joined", "after", "bytes", "entries", "seal", "selected", "to")

    def __init__(
        self,
        after: int,
        to: int,
        entries: Sequence[Entry],
        selected: Mapping[Selection, Sequence[Entry]],
        seal: bytes = b"",
    ) -> None:
        self.after = after
        self.to = to
        self.entries = entries
        self.selected = selected
        self.seal = seal
        self.bytes = sum(len(entry.frame) for entry in entries)
        self._joined: dict[Selection, bytes] = {}

    def frames(self, selection: Selection, position: int) -> bytes:
        """What is selected of it after ``position``."""
        selected = self.selected.get(selection, ())
        if position > self.after:
            return b"".join(entry.frame for entry in selected if entry.position > position)
        if len(selected) == 1:
            return selected[0].frame
        if (joined := self._joined.get(selection)) is None and selected:
            joined = self._joined[selection] = b"".join(entry.frame for entry in selected)
        return joined or b""


class Interests:
    """The selections of all readers, by the aggregate that they concern.

    Most readers follow one aggregate. So an event is looked up by its aggregate, and costs the same however many
    readers follow others.
    """

    def __init__(self, known_max: int = 100_000) -> None:
        self._counts: dict[Selection, int] = {}
        self._of_one: defaultdict[AggregateKey, set[Selection]] = defaultdict(set)
        self._of_many: set[Selection] = set()
        self._known: dict[AggregateKey, tuple[Selection, ...]] = {}
        self._known_max = known_max

    def add(self, selection: Selection) -> None:
        self._counts[selection] = self._counts.get(selection, 0) + 1
        if self._counts[selection] == 1:
            self._changed(selection)
            if selection.aggregate is None:
                self._of_many.add(selection)
            else:
                self._of_one[selection.aggregate].add(selection)

    def remove(self, selection: Selection) -> None:
        self._counts[selection] -= 1
        if self._counts[selection] == 0:
            del self._counts[selection]
            self._changed(selection)
            if selection.aggregate is None:
                self._of_many.remove(selection)
            else:
                self._of_one[selection.aggregate].remove(selection)
                if not self._of_one[selection.aggregate]:
                    del self._of_one[selection.aggregate]

    def select(self, entries: Iterable[Entry]) -> dict[Selection, list[Entry]]:
        """The events of each selection that has some."""
        selected: defaultdict[Selection, list[Entry]] = defaultdict(list)
        for entry in entries:
            for selection in self._concerned(entry.aggregate):
                if selection.type is None or selection.type == entry.type:
                    selected[selection].append(entry)
        return dict(selected)

    def _concerned(self, aggregate: AggregateKey) -> tuple[Selection, ...]:
        known = self._known.get(aggregate)
        if known is None:
            if len(self._known) >= self._known_max:
                self._known.clear()
            candidates = (*self._of_one.get(aggregate, ()), *self._of_many)
            known = self._known[aggregate] = tuple(one for one in candidates if one.concerns(aggregate))
        return known

    def _changed(self, selection: Selection) -> None:
        if selection.aggregate is None:
            self._known.clear()
        else:
            self._known.pop(selection.aggregate, None)


class Ring:
    """Ranges that follow each other, up to a number of events and of bytes; the newest stays in any case."""

    def __init__(self, position: int, *, events_max: int, bytes_max: int) -> None:
        self.begin = position
        self.end = position
        self._ranges: list[Range] = []
        self._events = 0
        self._bytes = 0
        self._events_max = events_max
        self._bytes_max = bytes_max

    def add(self, new: Range) -> None:
        assert new.after == self.end, "ranges follow each other"
        self._ranges.append(new)
        self.end = new.to
        self._events += len(new.entries)
        self._bytes += new.bytes
        surplus = 0
        while surplus < len(self._ranges) - 1 and (self._events > self._events_max or self._bytes > self._bytes_max):
            oldest = self._ranges[surplus]
            self._events -= len(oldest.entries)
            self._bytes -= oldest.bytes
            self.begin = oldest.to
            surplus += 1
        del self._ranges[:surplus]

    def after(self, position: int) -> Iterable[Range]:
        """The ranges with events after ``position``, which is in the ring or at its end."""
        first = bisect_right(self._ranges, position, key=lambda one: one.to)
        return (self._ranges[at] for at in range(first, len(self._ranges)))
