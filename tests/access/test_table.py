"""The table of who may do what: it has every way in, and the documentation shows it as it is."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.routes import HTTPRoute

import foldbook.api
from foldbook.access.roles import Role
from foldbook.api.access_table import FORBIDDEN, access_table, ways_in
from foldbook.api.commands import bulk
from foldbook.api.streams import market
from foldbook.engine.domains import DOMAINS, commands_of
from foldbook.engine.server import create_app
from tests.access.conftest import guarded_settings

PAGE = Path(__file__).parents[2] / "docs" / "access.md"
TABLE = ways_in(commands_of(DOMAINS))


def test_the_table_has_every_way_in() -> None:
    front = create_app(guarded_settings("postgresql://127.0.0.1:1/none"))
    found = {(call.method, call.template) for call in front.calls.all}
    app: Any = front._app
    assert isinstance(app, Litestar)
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            found |= {(method, route.path_format) for method in route.methods - {"OPTIONS"}}
    rows = [(way.method, way.path) for way in TABLE]
    assert len(set(rows)) == len(rows)
    # Beyond calls and routes, the front answers paths that modules name as their PATH.
    others = set(rows) - found
    assert found - set(rows) == set()
    assert {path for _, path in others} == set(paths_of_modules())


def paths_of_modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(foldbook.api.__path__, "foldbook.api."):
        path = getattr(importlib.import_module(module.name), "PATH", None)
        if path is not None:
            yield path


def test_nobody_without_a_key_may_do_more_than_look_around() -> None:
    open_to_all = {f"{way.method} {way.path}" for way in TABLE if way.roles is None}
    assert open_to_all == {
        "DELETE /session",
        "GET /",
        "HEAD /",
        "GET /docs",
        "GET /docs/{name}",
        "GET /openapi.json",
        "GET /health/live",
        "GET /health/ready",
    }


def test_a_broker_reads_nothing_of_an_account_and_a_reader_changes_nothing() -> None:
    for way in TABLE:
        if way.roles is None or way.path in (bulk.PATH, "/session", "/metrics", market.PATH):
            continue
        assert way.answer(Role.BROKER) == FORBIDDEN or way.method != "GET", way
        if way.method != "GET":
            assert way.answer(Role.READER) == FORBIDDEN, way
            assert way.answer(Role.AUDITOR) == FORBIDDEN or way.path.endswith("/verify"), way


def test_the_table_in_the_documentation_is_up_to_date() -> None:
    table = PAGE.read_text().split("<!-- access -->\n")[1].split("<!-- /access -->")[0]
    assert table == access_table(TABLE), "python -m foldbook.api.access_table"
