"""An event that a projection can't fold is skipped only if an operator says so, and then by every later copy too."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import psycopg
import pytest

from foldbook.errors import ProjectionError
from foldbook.eventstore.readers.definitions import Definition
from foldbook.postgres.connection import UNREACHABLE
from tests.machinery.test_sqlstates import CLASSES
from tests.readside.histories import Happening, write, write_book, write_many
from tests.readside.projecting import (
    DEFINITIONS,
    administering,
    assert_equal_to_fresh_folds,
    caught_up,
    connected,
    projecting,
    status_of,
)
from tests.waiting import until

POISON = Happening(
    "user-1/binance/simulated",
    "OrderAccepted",
    {"order_id": "never-created", "strategy_id": "s", "symbol": "BTCUSDT", "side": "BUY"},
)
LETTERS = "select position, reason, actor, error ->> 'sqlstate' from eventstore.dead_letters order by recorded_at"


@dataclass
class Stopped:
    """A database whose projection ``orders`` is stopped at ``position``, with more behind it."""

    dsn: str
    position: int

    def letters(self) -> list[tuple[object, ...]]:
        with connected(self.dsn) as connection:
            return connection.execute(LETTERS).fetchall()

    def orders(self) -> int:
        with connected(self.dsn) as connection:
            row = connection.execute("select count(*) from read.orders").fetchone()
        assert row is not None
        return int(row[0])

    async def skip(self, position: int) -> None:
        async with administering(self.dsn) as admin:
            await admin.skip("orders", 0, position, reason="a broker's mistake", actor="olivia")


@asynccontextmanager
async def stopped_at_poison(dsn: str) -> AsyncIterator[Stopped]:
    """With a projector running."""
    with connected(dsn) as connection:
        head = write_many(connection, 50)
        write(connection, [POISON])
        write_book(connection)
    async with projecting(dsn):
        await caught_up(dsn, [d.name for d in DEFINITIONS if d.name != "orders"])

        async def is_stopped() -> bool:
            return (await status_of(dsn, "orders")).error is not None

        await until(is_stopped)
        yield Stopped(dsn, head + 1)


async def test_only_the_event_it_is_stopped_at_is_skipped(database: str) -> None:
    async with stopped_at_poison(database) as stopped:
        before = stopped.orders()
        for wrong in (stopped.position - 1, stopped.position + 1):
            with pytest.raises(ProjectionError, match=f"It is stopped at position {stopped.position}") as refused:
                await stopped.skip(wrong)
            assert refused.value.code == "projection-not-stopped"
        assert stopped.letters() == []

        await stopped.skip(stopped.position)
        await caught_up(database)

        assert stopped.letters() == [(stopped.position, "a broker's mistake", "olivia", "FB010")]
        assert stopped.orders() == before + 5, "what is behind it was folded in"
        status = await status_of(database, "orders")
        assert (status.state, status.error, status.skipped) == ("live", None, 1)
        assert (await status_of(database, "fills")).skipped == 0
        with pytest.raises(ProjectionError, match="It is not stopped"):
            await stopped.skip(stopped.position)


async def test_every_later_copy_skips_the_same_event(database: str) -> None:
    async with stopped_at_poison(database) as stopped:
        await stopped.skip(stopped.position)
        await caught_up(database)
        async with administering(database) as admin:
            await admin.rebuild("orders")
            await assert_equal_to_fresh_folds(database)
            await admin.reset("orders")
            await assert_equal_to_fresh_folds(database)
        assert len(stopped.letters()) == 1
        with connected(database) as connection:
            write(connection, [replace(POISON, payload=POISON.payload | {"order_id": "nor-this"})])

        async def is_stopped_again() -> bool:
            error = (await status_of(database, "orders")).error
            return error is not None and error.position > stopped.position

        await until(is_stopped_again)


async def test_a_changed_definition_tries_it_again(database: str) -> None:
    async with stopped_at_poison(database) as stopped:
        await stopped.skip(stopped.position)
        await caught_up(database)
        before = stopped.orders()

    also_broken = changed(";", "; -- changed", 1)
    async with administering(database, [also_broken]) as admin:
        await admin.rebuild("orders")
        assert (await admin.verify("orders")).equal
    assert [letter[:3] for letter in stopped.letters()] == 2 * [(stopped.position, "a broker's mistake", "olivia")]
    assert (stopped.orders(), (await status_of(database, "orders")).skipped) == (before, 1)

    mended = changed("from log e\n", "from (select * from log l where l.subject is distinct from 'never-created') e\n")
    async with administering(database, [mended]) as admin:
        await admin.rebuild("orders")
        assert (await admin.verify("orders")).equal
    assert (stopped.orders(), (await status_of(database, "orders")).skipped) == (before, 0)


FAILS = """
create or replace function public.fails(p_subject text) returns boolean language plpgsql as $$
begin
    if p_subject = 'never-created' then
        {}
    end if;
    return false;
end
$$
"""


def fail(dsn: str, sqlstate: str | None) -> None:
    """What ``public.fails`` does from now on at the event; None: it takes it out."""
    then = "return true;" if sqlstate is None else f"raise exception 'the server' using errcode = '{sqlstate}';"
    with connected(dsn) as connection:
        connection.execute(FAILS.format(then).encode())


@pytest.mark.parametrize("sqlstate", ["40P01", "53100", "53200", "55P03", "55006", "57P05", "58030", "XX001"])
async def test_a_passing_error_of_the_server_skips_nothing_again(database: str, sqlstate: str) -> None:
    """A disk that is full while a new definition tries the event says nothing about the event."""
    async with stopped_at_poison(database) as stopped:
        await stopped.skip(stopped.position)
        await caught_up(database)
    letters, before = stopped.letters(), stopped.orders()
    mended = changed("from log e\n", "from (select * from log l where not public.fails(l.subject)) e\n")
    async with administering(database, [mended]) as admin:
        fail(database, sqlstate)
        with pytest.raises(ProjectionError, match="the server"):
            await admin.rebuild("orders")
        assert (stopped.letters(), stopped.orders()) == (letters, before)
        fail(database, None)
        await admin.rebuild("orders")
        assert (stopped.letters(), (await status_of(database, "orders")).skipped) == (letters, 0)


async def test_a_decision_about_an_internal_error_holds_for_the_same_one(database: str) -> None:
    """Else no rebuild would ever end: an event can be what an internal error comes from."""
    broken = changed("from log e\n", "from (select * from log l where not public.fails(l.subject)) e\n")
    fail(database, "XX000")
    async with administering(database, [broken]) as admin:
        await admin.rebuild("orders")
    with connected(database) as connection:
        position = write_many(connection, 20) + 1
        write(connection, [POISON])
        write_book(connection)
    async with projecting(database, [broken]):

        async def is_stopped() -> bool:
            return (await status_of(database, "orders")).error is not None

        await until(is_stopped)
        await Stopped(database, position).skip(position)
        await caught_up(database, ["orders"])
    also_broken = Definition.parse("orders", broken.sql.replace(";", "; -- changed", 1))
    async with administering(database, [also_broken]) as admin:
        await admin.rebuild("orders")
        assert (await admin.verify("orders")).equal
    assert [letter[::3] for letter in Stopped(database, position).letters()] == 2 * [(position, "XX000")]


async def test_a_passing_error_is_no_fault_of_the_event_that_a_projection_was_at(database: str) -> None:
    """A round failed at an event, and while that is searched for, the server has no room: then none is blamed."""
    passing = changed("from log e\n", "from (select * from log l where not public.fails(l.subject)) e\n")
    fail(database, "53100")
    with connected(database) as connection:
        head = write_many(connection, 20)
        async with administering(database, [passing]) as admin:
            await admin.rebuild("orders")
        write(connection, [POISON])
        with pytest.raises(psycopg.errors.DiskFull):
            connection.execute("select eventstore.projection_narrow('orders', 0, 50000)")
        assert (await status_of(database, "orders")).error is None
        fail(database, "22012")
        connection.execute("select eventstore.projection_narrow('orders', 0, 50000)")
        error = (await status_of(database, "orders")).error
        assert error is not None and (error.position, error.sqlstate) == (head + 1, "22012")


def test_what_is_passing_in_sql_is_tried_again_by_the_rounds(database: str) -> None:
    """Else a projection would neither go on nor say why."""
    with connected(database) as connection:
        for kind in CLASSES:
            is_of_server = issubclass(kind, UNREACHABLE) and str(kind.sqlstate)[:2] in ("40", "53", "55", "57", "58")
            found = connection.execute("select eventstore.is_passing(%s)", [kind.sqlstate]).fetchone()
            assert found == (is_of_server,), kind


def changed(old: str, new: str, count: int = -1) -> Definition:
    orders = next(d for d in DEFINITIONS if d.name == "orders")
    sql = orders.sql.replace(old, new, count)
    assert sql != orders.sql
    return Definition.parse("orders", sql)


async def test_from_the_command_line(database: str) -> None:
    async with stopped_at_poison(database) as stopped:
        doctor = await foldbook(database, "doctor")
        assert f"stopped at position {stopped.position}: " in doctor.stdout
        arguments = ["--reason", "a broker's mistake", "--actor", "olivia"]
        refused = await foldbook(database, "projections", "skip", "orders", "--position", "1", *arguments)
        assert refused.returncode == 1
        assert "not stopped at position 1 " in refused.stderr
        position = str(stopped.position)
        done = await foldbook(database, "projections", "skip", "orders", "--position", position, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        assert [row["name"] for row in json.loads(done.stdout)["projections"]] == ["orders"]
        await caught_up(database)
        assert [letter[2] for letter in stopped.letters()] == ["olivia"]
        doctor = await foldbook(database, "doctor", "--json")
        assert json.loads(doctor.stdout)["projections"]["orders:0"] == "live, 0 behind, 1 skipped"


async def foldbook(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "foldbook.cli", *arguments],
        env=os.environ | {"DATABASE_URL": dsn},
        capture_output=True,
        text=True,
    )
