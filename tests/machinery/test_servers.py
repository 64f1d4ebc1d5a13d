"""The servers that other tests use: a replica follows, is promoted, and a commit waits for a synchronous one."""

from __future__ import annotations

import psycopg
import pytest

from tests.conftest import prepare
from tests.machinery.servers import MAJORS, servers
from tests.waiting import block_until


@pytest.mark.parametrize("major", MAJORS)
def test_a_replica_follows_and_is_promoted(major: int) -> None:
    with servers(major) as rack:
        primary = rack.primary()
        prepare(primary.dsn)
        replica = rack.replica(primary)
        primary.configure(synchronous_standby_names="replica")
        with psycopg.connect(primary.dsn) as connection:
            connection.execute("create table told (what text)")
        block_until(lambda: replica.has_replayed(primary))
        primary.kill()
        replica.promote()
        replica.execute("alter system reset synchronous_standby_names")
        replica.execute("select pg_reload_conf()")
        with psycopg.connect(replica.dsn) as connection:
            connection.execute("insert into told values ('after')")
            assert connection.execute("select shard_count from eventstore.log_info").fetchone() == (1,)
