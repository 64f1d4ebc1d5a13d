"""Streams lose and repeat nothing, whoever is killed; 100,000 events in ``make soak``."""

from __future__ import annotations

from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.roles import ENGINE, as_role
from tests.proof.following import follow_under_kills


async def test_each_event_is_read_once_while_servers_backends_and_clients_are_killed(
    own_postgres: EmbeddedPostgres,
) -> None:
    said = await follow_under_kills(as_role(own_postgres.dsn, ENGINE), events=3_000, per_s=500)
    assert said.startswith("3000 events, ")
