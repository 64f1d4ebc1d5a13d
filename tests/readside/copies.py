"""Two copies of one projection, ``whole`` and ``cut``: folded from the same log in one range and in many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import psycopg
from psycopg.rows import dict_row

from foldbook.eventstore.readers.definitions import Definition
from foldbook.resources import projection_files
from tests.readside.histories import Happening, write

Row = dict[str, Any]


class Copies:
    def __init__(self, connection: psycopg.Connection[Row], definition: Definition) -> None:
        self.connection = connection
        self._name = definition.name
        self.tables: list[str] = []
        for copy in ("whole", "cut"):
            made = connection.execute(
                "select eventstore.projection_create(%s, %s, %s, %s) as tables",
                [copy, definition.name, definition.sql, list(definition.aggregate_types)],
            ).fetchone()
            assert made is not None
            self.tables = made["tables"]

    def empty(self) -> None:
        """The log too."""
        for table in ("events", "commits"):
            self.connection.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
        self.connection.execute("truncate eventstore.events, eventstore.commits")
        for table in self.tables:
            for copy in ("whole", "cut"):
                self.connection.execute(f"truncate {copy}_{self._name}.{table}".encode())

    def write(self, history: Iterable[Happening]) -> int:
        """The log's new head."""
        with psycopg.connect(self.connection.info.dsn, autocommit=True) as writer:
            return write(writer, history)

    def fold(self, history: list[Happening], cuts: Iterable[int]) -> None:
        head = self.write(history)
        self.project("whole", [0, head])
        self.project("cut", [0, *sorted(c for c in cuts if 0 < c < head), head])

    def project(self, copy: str, positions: list[int]) -> None:
        for begin, end in pairwise(positions):
            self.connection.execute(
                "select eventstore.projection_apply(%s, %s, 0, %s, %s)", [copy, self._name, begin, end]
            )

    def rows(self, copy: str, table: str, key: str) -> list[Row]:
        return self.connection.execute(f"select * from {copy}_{self._name}.{table} order by {key}".encode()).fetchall()


@contextmanager
def copies_of(dsn: str, name: str) -> Iterator[Copies]:
    (definition,) = [d for d in map(Definition.read, projection_files()) if d.name == name]
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        yield Copies(connection, definition)
