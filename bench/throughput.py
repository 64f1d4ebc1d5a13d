"""The rows that are one rate divided by another: who takes part, and what is divided by what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from bench.arena import engine, issue_key, served, tell
from bench.bulk import Bulk
from bench.bus import Bus
from bench.floor import Floor, prepare_floor
from bench.http import CONNECTIONS, Http
from bench.peer_axon import Axon, AxonUnavailable
from bench.peer_eventsourcing import prepare_peer
from bench.rounds import Contestant, Stage
from bench.table import Row, Slice
from bench.targets import (
    BY_EVENTSOURCING,
    CALLERS_32_BY_PGBENCH,
    CALLERS_256_BY_PGBENCH,
    FOR_INFORMATION,
    HTTP_BY_PGBENCH,
    KEYS_BY_OPEN,
    NDJSON_BY_PGBENCH,
    ONE_CALLER_BY_AXON,
    ONE_CALLER_BY_PGBENCH,
    Target,
)


@dataclass(frozen=True)
class Quotient:
    """A row: the rate of ``ours`` ÷ the rate of ``base``. ``measurement`` is its name for ``--only``."""

    measurement: str
    ours: str
    base: str
    target: Target

    @property
    def what(self) -> str:
        return f"{self.ours} ÷ {self.base}"


FLOOR_1, FLOOR_32 = "pgbench, 1 client", "pgbench, 32 clients"
BUS_1, BUS_32, BUS_256 = "bus, 1 caller", "bus, 32 callers", "bus, 256 callers"
BUS_MIXED = "bus, 256 callers, mixed commands"
AXON = "Axon, 1 caller"
PEER = "the package eventsourcing"
HTTP = f"HTTP orders, {CONNECTIONS} connections"
HTTP_PROJECTED = f"{HTTP}, projector running"
HTTP_KEYS = f"{HTTP}, with a key"
BULK = "NDJSON commands"

QUOTIENTS = (
    Quotient("axon", BUS_1, AXON, ONE_CALLER_BY_AXON),
    Quotient("bus", BUS_1, FLOOR_1, ONE_CALLER_BY_PGBENCH),
    Quotient("bus", BUS_32, FLOOR_32, CALLERS_32_BY_PGBENCH),
    Quotient("bus", BUS_256, FLOOR_32, CALLERS_256_BY_PGBENCH),
    Quotient("bus", BUS_MIXED, FLOOR_32, FOR_INFORMATION),
    Quotient("eventsourcing", BUS_256, PEER, BY_EVENTSOURCING),
    Quotient("http", HTTP, FLOOR_32, FOR_INFORMATION),
    Quotient("http", HTTP_PROJECTED, FLOOR_32, HTTP_BY_PGBENCH),
    Quotient("access", HTTP_KEYS, HTTP, KEYS_BY_OPEN),
    Quotient("ndjson", BULK, FLOOR_32, NDJSON_BY_PGBENCH),
)
MEASUREMENTS = tuple(dict.fromkeys(quotient.measurement for quotient in QUOTIENTS))


def measure_throughput(stage: Stage, measurements: set[str]) -> list[Row]:
    """Everything that the rows of these measurements need takes turns."""
    quotients = [quotient for quotient in QUOTIENTS if quotient.measurement in measurements]
    contestants: dict[str, Contestant] = {}
    missing: dict[str, str] = {}
    for name in [name for name in _MAKERS if any(name in (q.ours, q.base) for q in quotients)]:
        try:
            contestants[name] = _MAKERS[name](stage)
        except AxonUnavailable as error:
            tell(f"{name}: not measured: {error}")
            missing[name] = str(error)
    turns = stage.take_turns(contestants)
    return [q.target.not_measured(q.what, missing[q.base]) if q.base in missing else _row(q, turns) for q in quotients]


def _row(quotient: Quotient, turns: dict[str, list[Slice]]) -> Row:
    ours, base = turns[quotient.ours], turns[quotient.base]
    rates, its_rates = ([turn.rate for turn in slices] for slices in (ours, base))
    shares = [turn.cpu_share for turn in ours if turn.cpu_share is not None]
    detail = f"{median(rates):,.0f}/s ÷ {median(its_rates):,.0f}/s"
    if shares and quotient.ours in (HTTP, HTTP_PROJECTED, BULK):
        detail += f"; client took {sum(shares) / len(shares):.0%} of a core"
    return quotient.target.quotient(quotient.what, rates, its_rates, detail)


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


def _http_with_key(stage: Stage) -> Contestant:
    dsn, folder = stage.place.create_database(), stage.place.folder
    key = issue_key(dsn, folder)
    _, port = stage.cleanup.enter_context(served(dsn, folder, access="keys"))
    return Http(port, key)


_MAKERS: dict[str, Callable[[Stage], Contestant]] = {
    FLOOR_32: _floor(32),
    BUS_32: _bus(32),
    BUS_256: _bus(256),
    BUS_MIXED: _bus(256, is_mixed=True),
    PEER: _peer,
    HTTP: lambda stage: Http(_serve(stage)),
    HTTP_KEYS: _http_with_key,
    HTTP_PROJECTED: lambda stage: Http(_serve(stage, is_projected=True)),
    BULK: lambda stage: Bulk(_serve(stage)),
    AXON: lambda stage: Axon(stage, callers=1),
    BUS_1: _bus(1),
    FLOOR_1: _floor(1),
}
