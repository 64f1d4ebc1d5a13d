"""Which events a reader wants, and which it may see."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from foldbook.eventstore.events import AggregateKey


class View(msgspec.Struct, frozen=True):
    """The aggregates that a reader may see, by their ids: ``sees`` says it here, and ``patterns`` in SQL."""

    patterns: tuple[str, ...]
    sees: Callable[[str], bool]


class Selection(msgspec.Struct, frozen=True, cache_hash=True):
    """A value: readers with equal selections share what is selected for them. None stands for all."""

    aggregate: AggregateKey | None = None
    type: str | None = None
    view: View | None = None

    def concerns(self, aggregate: AggregateKey) -> bool:
        """Whether events of this aggregate may be selected."""
        return (self.aggregate is None or self.aggregate == aggregate) and (
            self.view is None or self.view.sees(aggregate.id)
        )
