"""The rooms of the house: what is in each, and that the event store knows nothing about trading."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from foldbook.eventstore.events import Event
from foldbook.postgres.code import code_schemas, schema_of
from foldbook.resources import code_files, projection_files
from foldbook.trading import commands, events

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "app" / "foldbook"

ROOMS_MAX = 17
SQL_LINES_MAX = 400
LONGER_SQL = {
    "lots.sql": "One statement matches a range of fills with the lots; cut up, it would need tables in between.",
    "ledger.sql": "What is rare is gathered by statements of its own, so that most ranges pay for fills only.",
}


def every(kind: type[Any]) -> Iterator[type[Any]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from every(subclass)


def read_tables() -> set[str]:
    created = re.compile(r"^create table (\w+)", re.MULTILINE)
    return {table for path in projection_files() for table in created.findall(path.read_text())}


# -- the event store knows nothing of trading --------------------------------------------------------------------

COMMON_WORDS = {"positions", "fills"}
"""Read tables whose name is also a word of the log or of English: it means the table only after ``read.``."""

WORDS = ["order book", "symbol", "strategy", "strategies", "broker", "quantity", "currency"]


def words_of_trading() -> list[str]:
    told = [kind.__name__ for kind in every(Event) if kind.__module__ == events.__name__]
    asked = [kind.__name__ for kind in every(commands.BookCommand)]
    assert "OrderFilled" in told
    assert "PlaceOrder" in asked
    assert "order_books" in read_tables()
    return [*told, *asked, *sorted(read_tables() - COMMON_WORDS), *(f"read.{table}" for table in COMMON_WORDS), *WORDS]


SCHEMA_OR_PACKAGE = r"\btrading\.\w"
ACCOUNT = r"(?<!into )\baccounts?\b(?! for)"

TRADING = re.compile(
    "|".join([SCHEMA_OR_PACKAGE, ACCOUNT, *(rf"\b{re.escape(word)}s?\b" for word in words_of_trading())]),
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "text", ["order books", "from read.positions p", "OrderFilled", "trading.net_fill", "orders o"]
)
def test_a_word_of_trading_is_found(text: str) -> None:
    assert TRADING.search(text)


@pytest.mark.parametrize(
    "text",
    ["order by e.position", "positions (from, to]", "knows nothing of trading", "fills a copy", "taken into account"],
)
def test_a_word_of_the_log_is_not(text: str) -> None:
    assert not TRADING.search(text)


@pytest.mark.parametrize("room", ["sql/eventstore", "app/foldbook/eventstore", "app/foldbook/postgres"])
def test_the_event_store_names_nothing_of_trading(room: str) -> None:
    files = [path for path in sorted((ROOT / room).rglob("*")) if path.suffix in (".py", ".sql")]
    assert files
    assert [
        f"{path.relative_to(ROOT)}:{number}: {found.group()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := TRADING.search(line))
    ] == []


# -- sql ---------------------------------------------------------------------------------------------------------

DEFINES = re.compile(
    r"^\s*create (?:or replace )?(?:function|aggregate|view|procedure) (\w+)\.\"?(\w+)\"?", re.MULTILINE
)


@pytest.mark.parametrize("path", code_files(), ids=lambda path: path.stem)
def test_a_file_defines_one_object_of_its_name_in_the_schema_of_its_folder(path: Path) -> None:
    assert DEFINES.findall(path.read_text()) == [(schema_of(path), path.stem)]


def test_a_migrated_database_has_what_the_files_define_and_no_more(database: str) -> None:
    with psycopg.connect(database) as connection:
        found = connection.execute(
            """
            select pronamespace::regnamespace::text, proname
            from pg_proc
            where pronamespace = any (%(schemas)s::regnamespace[])
            union
            select relnamespace::regnamespace::text, relname
            from pg_class
            where relkind = 'v' and relnamespace = any (%(schemas)s::regnamespace[])
            """,
            {"schemas": code_schemas()},
        ).fetchall()
    assert set(found) == {(schema_of(path), path.stem) for path in code_files()}


@pytest.mark.parametrize("path", projection_files(), ids=lambda path: path.stem)
def test_a_projection_defines_its_fold_and_names_no_schema_for_its_tables(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^create function (\S+?)\(", text, re.MULTILINE) == [f"project_{path.stem}"]
    assert all("." not in table for table in re.findall(r"^create table (\S+)", text, re.MULTILINE))


def test_no_file_of_sql_is_long_but_for_a_reason() -> None:
    long = {
        path.name for path in [*code_files(), *projection_files()] if len(path.read_text().splitlines()) > SQL_LINES_MAX
    }
    assert long == set(LONGER_SQL)


# -- the package -------------------------------------------------------------------------------------------------


def test_the_package_has_at_most_so_many_rooms() -> None:
    rooms = [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()]
    assert {"eventstore", "trading", "api"} < set(rooms)
    assert len(rooms) <= ROOMS_MAX


def test_every_room_has_its_place_in_the_import_contracts() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [contract for contract in settings["contracts"] if contract["type"] == "layers"]
    assert len(layers) == 1
    placed = {
        name.strip().removeprefix("foldbook.") for layer in layers[0]["layers"] for name in re.split(r"[|:]", layer)
    }
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert placed == rooms | modules
    assert "lint-imports" in (ROOT / "Makefile").read_text()
