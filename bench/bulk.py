"""Durable commands a second over ``POST /commands``: NDJSON, many commands in a request."""

from __future__ import annotations

from dataclasses import dataclass

from bench.arena import run_child
from bench.bulk_load import BulkLoad
from bench.table import Slice

CONNECTIONS = 2


@dataclass
class Bulk:
    """Requests of 2,000 new orders to the server at ``port``, over two connections."""

    port: int

    def run(self, seconds: float) -> Slice:
        return run_child("bench.bulk_load", BulkLoad(port=self.port, connections=CONNECTIONS, seconds=seconds), Slice)
