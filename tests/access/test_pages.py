"""Pages and their reference: what a browser is told, and how somebody with a key uses them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from foldbook.api.access_table import ways_in
from foldbook.api.sessions import COOKIE
from foldbook.engine.domains import DOMAINS, commands_of
from tests.access.conftest import Guarded

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILES = ("", "/docs.js", "/swagger-ui.css", "/swagger-ui-bundle.js")


def policy_of(header: str) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (part.split() for part in header.split(";"))}


async def test_a_page_runs_no_script_but_our_files(shared: Guarded) -> None:
    for path in FILES:
        answer = await shared.ask(None, "GET", f"/docs{path}")
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = policy_of(answer.headers["content-security-policy"])
        assert policy["default-src"] == ["'none'"]
        assert policy["script-src"] == ["'self'"]
        assert policy["connect-src"] == ["'self'"]
        for nobody in ("base-uri", "form-action", "frame-ancestors"):
            assert policy[nobody] == ["'none'"]
        assert [name for name, sources in policy.items() if "'unsafe-inline'" in sources] == ["style-src"]


async def test_a_page_has_no_script_of_its_own(shared: Guarded) -> None:
    page = (await shared.ask(None, "GET", "/docs")).text
    for opening, content in re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL):
        assert 'src="/docs/' in opening
        assert content == ""
    assert not re.search(r"\son\w+=", page), "no handler in an attribute"
    assert "javascript:" not in page


async def test_the_reference_says_how_to_show_a_key(shared: Guarded) -> None:
    document = (await shared.ask(None, "GET", "/openapi.json")).json()
    schemes: dict[str, Any] = document["components"]["securitySchemes"]
    assert (schemes["key"]["type"], schemes["key"]["scheme"]) == ("http", "bearer")
    assert (schemes["session"]["in"], schemes["session"]["name"]) == ("cookie", COOKIE)
    assert document["security"] == [{"key": []}, {"session": []}]
    needs_key = {
        (method.upper(), path): operation.get("security") != []
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    ways = {(way.method, way.path): way.roles is not None for way in ways_in(commands_of(DOMAINS))}
    assert needs_key == {call: ways[call] for call in needs_key}
    assert not all(needs_key.values())
    # What is not in the reference is the reference, and where to find it.
    assert {path for _, path in ways.keys() - needs_key.keys()} == {"/", "/openapi.json", "/docs", "/docs/{name}"}


async def test_every_call_that_needs_a_key_says_what_it_answers_without(shared: Guarded) -> None:
    document = (await shared.ask(None, "GET", "/openapi.json")).json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation.get("security") != []:
                assert {"401", "403", "421", "429"} <= operation["responses"].keys(), (method, path)
