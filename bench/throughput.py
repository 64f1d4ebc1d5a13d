"""The rows that are one rate divided by another: who takes part, and what is divided by what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from bench.arena import engine, served
from bench.bulk import Bulk
from bench.bus import Bus
from bench.floor import Floor, prepare_floor
from bench.http import CONNECTIONS, Http
from bench.peer_eventsourcing import prepare_peer
from bench.rounds import Contestant, Stage, tell
from bench.table import Row, Slice, ratio


@dataclass(frozen=True)
class Quotient:
    """A row: the rate of ``ours`` ÷ the rate of ``base``. ``measurement``: what ``--only`` calls it."""

    measurement: str
    what: str
    ours: str
    base: str
    must: float | None = None
    aim: float | None = None


FLOOR_1, FLOOR_32 = "pgbench, 1 client", "pgbench, 32 clients"
BUS_1, BUS_32, BUS_256 = "bus, 1 caller", "bus, 32 callers", "bus, 256 callers"
BUS_MIXED = "bus, 256 callers, mixed commands"
PEER = "eventsourcing"
HTTP = f"HTTP orders, {CONNECTIONS} connections"
HTTP_PROJECTED = f"{HTTP}, projector running"
BULK = "NDJSON commands"

QUOTIENTS = (
    Quotient("bus", f"{BUS_32} ÷ {FLOOR_32}", BUS_32, FLOOR_32, must=0.65, aim=1.0),
    Quotient("bus", f"{BUS_256} ÷ {FLOOR_32}", BUS_256, FLOOR_32, must=0.8, aim=1.5),
    Quotient("bus", f"{BUS_1} ÷ {FLOOR_1}", BUS_1, FLOOR_1, must=0.3, aim=0.6),
    Quotient("bus", f"{BUS_MIXED} ÷ {FLOOR_32}", BUS_MIXED, FLOOR_32),
    Quotient("peer", f"{BUS_256} ÷ the package {PEER}", BUS_256, PEER, must=10, aim=30),
    Quotient("http", f"{HTTP} ÷ {FLOOR_32}", HTTP, FLOOR_32, must=0.25, aim=0.5),
    Quotient("http", f"{HTTP_PROJECTED} ÷ {FLOOR_32}", HTTP_PROJECTED, FLOOR_32),
    Quotient("bulk", f"{BULK} ÷ {FLOOR_32}", BULK, FLOOR_32, must=0.6, aim=1.0),
)
MEASUREMENTS = tuple(dict.fromkeys(quotient.measurement for quotient in QUOTIENTS))


def measure_throughput(stage: Stage, measurements: set[str]) -> list[Row]:
    """Everything that the rows of these measurements need takes turns."""
    quotients = [quotient for quotient in QUOTIENTS if quotient.measurement in measurements]
    needed = [name for name in _MAKERS if any(name in (q.ours, q.base) for q in quotients)]
    turns = stage.take_turns({name: _MAKERS[name](stage) for name in needed})
    return [_row(quotient, turns) for quotient in quotients]


def _row(quotient: Quotient, turns: dict[str, list[Slice]]) -> Row:
    ours, base = turns[quotient.ours], turns[quotient.base]
    value, low, high = ratio([turn.rate for turn in ours], [turn.rate for turn in base])
    rate, its_rate = (median(turn.rate for turn in slices) for slices in (ours, base))
    shares = [turn.cpu_share for turn in ours if turn.cpu_share is not None]
    detail = f"{rate:,.0f}/s ÷ {its_rate:,.0f}/s"
    if shares and quotient.ours in (HTTP, HTTP_PROJECTED, BULK):
        detail += f"; client took {sum(shares) / len(shares):.0%} of a core"
    return Row(what=quotient.what, value=value, low=low, high=high, must=quotient.must, aim=quotient.aim, detail=detail)


def _floor(clients: int) -> Callable[[Stage], Contestant]:
    return lambda stage: Floor(prepare_floor(stage.place), clients)


def _bus(callers: int, *, is_mixed: bool = False) -> Callable[[Stage], Contestant]:
    return lambda stage: Bus(stage.place.create_database(), callers, is_mixed)


def _peer(stage: Stage) -> Contestant:
    peer = prepare_peer(stage.place, min(2.0, stage.sizes.slice_s))
    tell(f"the package eventsourcing does best with {peer.threads} threads")
    return peer


def _serve(stage: Stage, *, is_projected: bool = False) -> int:
    dsn = stage.place.create_database()
    if is_projected:
        stage.cleanup.enter_context(engine(dsn, stage.place.folder, "projections", "run"))
    _, port = stage.cleanup.enter_context(served(dsn, stage.place.folder))
    return port


_MAKERS: dict[str, Callable[[Stage], Contestant]] = {
    FLOOR_32: _floor(32),
    BUS_32: _bus(32),
    BUS_256: _bus(256),
    BUS_MIXED: _bus(256, is_mixed=True),
    PEER: _peer,
    HTTP: lambda stage: Http(_serve(stage)),
    HTTP_PROJECTED: lambda stage: Http(_serve(stage, is_projected=True)),
    BULK: lambda stage: Bulk(_serve(stage)),
    FLOOR_1: _floor(1),
    BUS_1: _bus(1),
}
