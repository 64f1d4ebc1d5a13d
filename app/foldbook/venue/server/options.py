"""What ``foldbook venue`` is told."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from foldbook.venue.orders import Costs, Path


class Clock(StrEnum):
    WALL = "wall"
    """The machine's time."""
    DATA = "data"
    """The time of the latest datum."""


class VenueOptions(Struct, frozen=True, kw_only=True):
    """How the venue behaves, whoever trades there."""

    deduplicates: bool = True
    replaces: bool = True
    replace_moves_id: bool = False
    clock: Clock = Clock.WALL
    costs: Costs = Costs()
    path: Path = Path.ADVERSE
