"""Metrics in the Prometheus text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from foldbook.api.commands.calls import Bus
from foldbook.api.operations.gateways import GatewayStatus
from foldbook.api.operations.relays import RelayRow
from foldbook.eventstore.readers.status import ProjectionStatus


class Requests:
    """Counts HTTP requests by method, path template and status."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, int]] = Counter()

    def count(self, method: str, path: str, status: int) -> None:
        self.counts[method, path, status] += 1


@dataclass(frozen=True)
class Told:
    """What only the database knows. Nothing of it, while it does not answer."""

    projections: Sequence[ProjectionStatus] = ()
    gateways: Sequence[GatewayStatus] = ()
    doubts: Mapping[str, int] = field(default_factory=dict)
    relays: Sequence[RelayRow] = ()
    log_clock_ahead_s: float | None = None


class _Snapshot(Collector):
    """All metrics at one moment."""

    def __init__(self, bus: Bus, requests: Requests, told: Told) -> None:
        self._bus = bus
        self._requests = requests
        self._told = told

    def collect(self) -> Iterator[Metric]:
        bus = self._bus
        yield GaugeMetricFamily("foldbook_commands_queued", "Commands waiting to be decided", bus.queued)
        yield GaugeMetricFamily(
            "foldbook_commands_in_flight", "Commands in the append that is under way", bus.in_flight
        )
        yield CounterMetricFamily("foldbook_commits", "Append transactions", bus.commits_total)
        yield CounterMetricFamily("foldbook_commands", "Commands recorded, refusals included", bus.commands_total)
        yield CounterMetricFamily(
            "foldbook_conflicts", "Commands decided again because another writer came first", bus.conflicts_total
        )
        yield CounterMetricFamily(
            "foldbook_lost_positions",
            "Positions that this process saw and the log does not have any more",
            sum(loss.last_position - loss.after_position for loss in bus.losses),
        )
        requests = CounterMetricFamily(
            "foldbook_http_requests", "HTTP requests answered", labels=("method", "path", "status")
        )
        for (method, path, status), count in self._requests.counts.items():
            requests.add_metric((method, path, str(status)), count)
        yield requests
        lag = GaugeMetricFamily(
            "foldbook_projection_lag", "Events that a projection has not folded yet", labels=("projection", "shard")
        )
        for row in self._told.projections:
            lag.add_metric((row.name, str(row.shard)), row.lag)
        yield lag
        if self._told.log_clock_ahead_s is not None:
            yield GaugeMetricFamily(
                "foldbook_log_clock_ahead_seconds",
                "How much later the log's last commit is than the database server's clock; 0 unless that was put back",
                self._told.log_clock_ahead_s,
            )
        yield from self._of_gateways()
        yield from self._of_relays()

    def _of_gateways(self) -> Iterator[Metric]:
        for name, told, value_of in (
            ("foldbook_gateway_is_working", "1 while the gateway works its accounts, or has none", _is_working),
            ("foldbook_gateway_accounts", "Accounts that the gateway works", lambda g: g.accounts),
            ("foldbook_gateway_ready", "Of them, those that are reconciled with the broker", lambda g: g.ready),
            ("foldbook_gateway_lag", "Events that the gateway has not read yet", lambda g: g.lag),
            ("foldbook_mismatches", "Symbols in which broker and book differ", lambda g: g.mismatches),
        ):
            gauge = GaugeMetricFamily(name, told, labels=("broker",))
            for gateway in self._told.gateways:
                gauge.add_metric((gateway.broker,), value_of(gateway))
            yield gauge
        doubts = GaugeMetricFamily(
            "foldbook_doubts", "Requests of which nobody knows what became of them", labels=("broker",)
        )
        for broker in {*self._told.doubts, *(gateway.broker for gateway in self._told.gateways)}:
            doubts.add_metric((broker,), self._told.doubts.get(broker, 0))
        yield doubts

    def _of_relays(self) -> Iterator[Metric]:
        for name, told, value_of in (
            ("foldbook_relay_is_working", "1 while the relay publishes the log to RabbitMQ", _is_working),
            ("foldbook_relay_lag", "Events that RabbitMQ has not confirmed yet", lambda relay: relay.lag),
        ):
            gauge = GaugeMetricFamily(name, told, labels=("relay",))
            for relay in self._told.relays:
                gauge.add_metric((relay.name,), value_of(relay))
            yield gauge
        unrouted = CounterMetricFamily(
            "foldbook_relay_unrouted", "Events for which no queue was bound", labels=("relay",)
        )
        for relay in self._told.relays:
            unrouted.add_metric((relay.name,), relay.unrouted)
        yield unrouted


def _is_working(process: GatewayStatus | RelayRow) -> int:
    return int(process.state in ("working", "idle"))


def exposition(bus: Bus, requests: Requests, told: Told) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(bus, requests, told))
    return generate_latest(registry)
