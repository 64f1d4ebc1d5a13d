"""Durable orders a second over HTTP: one server process, a request for each order."""

from __future__ import annotations

from dataclasses import dataclass

from bench.arena import run_child
from bench.http_load import HttpLoad
from bench.table import Slice

CONNECTIONS = 128


@dataclass
class Http:
    """``POST /accounts/{a}/orders`` to the server at ``port``."""

    port: int
    key: str | None = None

    def run(self, seconds: float) -> Slice:
        task = HttpLoad(port=self.port, connections=CONNECTIONS, seconds=seconds, key=self.key)
        return run_child("bench.http_load", task, Slice)
