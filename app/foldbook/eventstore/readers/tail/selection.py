"""Which events a reader wants, and which it may see."""

from __future__ import annotations

import re
from functools import cached_property

import msgspec

from foldbook.eventstore.events import AggregateKey


class View(msgspec.Struct, frozen=True, dict=True):
    """The aggregates that a reader may see: of one type, with ids like one of ``patterns``.

    A pattern has as many segments between slashes as the id; each is a name, or ``*`` for any.
    """

    aggregate_type: str
    patterns: tuple[str, ...]

    def includes(self, aggregate: AggregateKey) -> bool:
        return aggregate.type == self.aggregate_type and self._compiled.fullmatch(aggregate.id) is not None

    @cached_property
    def like(self) -> list[str]:
        """The patterns, as LIKE of SQL has them."""
        return ["/".join("%" if part == "*" else _escaped(part) for part in one.split("/")) for one in self.patterns]

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(
            "|".join(
                "/".join("[^/]+" if part == "*" else re.escape(part) for part in one.split("/"))
                for one in self.patterns
            )
            or r"(?!)"
        )


class Selection(msgspec.Struct, frozen=True):
    """A value: readers with equal selections share what is selected for them. None stands for all."""

    aggregate: AggregateKey | None = None
    type: str | None = None
    view: View | None = None

    def concerns(self, aggregate: AggregateKey) -> bool:
        """Whether events of this aggregate may be selected."""
        return (self.aggregate is None or self.aggregate == aggregate) and (
            self.view is None or self.view.includes(aggregate)
        )


def _escaped(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)
