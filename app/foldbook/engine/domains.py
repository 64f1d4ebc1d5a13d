"""The domains of an engine: what it decides, and which read models show it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from foldbook.access.access import ACCESS
from foldbook.api.queries.parameters import LogTypes
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import Command
from foldbook.eventstore.readers.definitions import Definition
from foldbook.resources import projection_files
from foldbook.trading.book import ORDER_BOOK


class Domain(NamedTuple):
    """One type of aggregate and its read models, each in one SQL file."""

    decider: Decider[Any]
    projections: Sequence[Path] = ()


TRADING = Domain(ORDER_BOOK, projection_files())
KEYS = Domain(ACCESS)
DOMAINS = (TRADING, KEYS)


def commands_of(domains: Sequence[Domain]) -> list[type[Command]]:
    """Every command that can be sent from outside."""
    every = (command for domain in domains for command in domain.decider.command_types)
    return [command for command in every if command.declaration is not None]


def log_types_of(domains: Sequence[Domain]) -> LogTypes:
    """What their logs can hold."""
    deciders = [domain.decider for domain in domains]
    return LogTypes(
        frozenset(decider.name for decider in deciders),
        frozenset(event.__name__ for decider in deciders for event in decider.event_types.types),
    )


def definitions_of(domains: Sequence[Domain]) -> list[Definition]:
    """Every read model."""
    return [Definition.read(path) for domain in domains for path in domain.projections]
