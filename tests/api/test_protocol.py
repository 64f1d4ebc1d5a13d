"""What the fast path relies on in uvicorn. If one of these fails, uvicorn has changed: read its ``httptools_impl.py``
again, then ``foldbook.api.commands.protocol``, before you raise the bound in ``pyproject.toml``."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from foldbook.api.commands import protocol
from foldbook.wire.connections import Connection
from foldbook.wire.protocol import StrictProtocol

_Exchange = protocol._Exchange

TREE = ast.parse(inspect.getsource(httptools_impl))


def class_named(name: str) -> ast.ClassDef:
    return next(node for node in TREE.body if isinstance(node, ast.ClassDef) and node.name == name)


def source_of(method: str) -> str:
    return inspect.getsource(getattr(HttpToolsProtocol, method))


OVERRIDDEN = ("on_headers_complete", "on_body", "on_message_complete")


def attributes_of(variable: str, node: ast.AST) -> set[str]:
    """The attributes that are read or set on ``variable``, such as ``self.cycle``."""
    return {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute) and ast.unparse(one.value) == variable}


def test_an_exchange_has_all_that_uvicorn_looks_at() -> None:
    protocol_class = class_named("HttpToolsProtocol")
    looked_at = attributes_of("self.cycle", protocol_class) | attributes_of("existing_cycle", protocol_class)
    # Set on uvicorn's own cycle only, in callbacks that are ours while an exchange is under way.
    own = attributes_of("self.cycle", ast.parse(textwrap.dedent(source_of("on_body"))))
    own |= attributes_of("self.cycle", ast.parse(textwrap.dedent(source_of("on_message_complete"))))
    assert looked_at - {"more_body"} <= set(_Exchange.__slots__)
    assert own == {"body", "message_event", "more_body", "response_complete"}


def test_the_callbacks_are_those_that_are_overridden() -> None:
    callbacks = {name for name in vars(HttpToolsProtocol) if name.startswith("on_")}
    assert callbacks == {
        "on_message_begin",
        "on_url",
        "on_header",
        "on_headers_complete",
        "on_body",
        "on_message_complete",
        "on_response_complete",
    }
    for name in ("connection_made", "connection_lost", "data_received", "on_message_begin", *OVERRIDDEN):
        ours = inspect.signature(getattr(protocol.CommandProtocol, name))
        theirs = inspect.signature(getattr(HttpToolsProtocol, name))
        assert list(ours.parameters) == list(theirs.parameters)


@pytest.mark.parametrize("ours", [protocol.CommandProtocol, StrictProtocol])
def test_what_is_used_of_uvicorns_protocol_is_there(ours: type[StrictProtocol]) -> None:
    own = {*vars(Connection), *Connection.__annotations__} - {"transport"}
    for kind in (protocol.CommandProtocol, StrictProtocol):
        own |= {name for name in vars(kind) if not name.startswith("__")}
        own |= set(re.findall(r"self\.(\w+)(?:: [^=\n]+)? = ", inspect.getsource(kind.__init__)))
    used = attributes_of("self", ast.parse(inspect.getsource(ours)))
    given = attributes_of("self", class_named("HttpToolsProtocol")) | set(vars(HttpToolsProtocol))
    assert used - own <= given
    if ours is protocol.CommandProtocol:
        assert {"parser", "url", "cycle", "tasks", "loop", "transport", "server_state", "flow"} <= used
    else:
        assert {"parser", "url", "headers", "cycle", "pipeline", "flow", "transport"} <= used


def test_data_is_read_as_uvicorn_reads_it() -> None:
    """``data_received`` is our own, with what theirs does."""
    theirs = inspect.getsource(HttpToolsProtocol.data_received)
    ours = inspect.getsource(StrictProtocol.data_received) + inspect.getsource(StrictProtocol._feed)
    for step in (
        "_unset_keepalive_if_required()",
        "HttpParserError",
        "HttpParserUpgrade",
        "handle_websocket_upgrade()",
    ):
        assert step in theirs
        assert step in ours


def test_a_response_ends_as_uvicorn_ends_its_own() -> None:
    """``on_response_complete`` counts the request, arms the timeout and starts what is next in the pipeline."""
    body = source_of("on_response_complete")
    for step in ("total_requests += 1", "is_closing()", "resume_reading()", "pipeline.pop()", "call_later"):
        assert step in body
    # A request that comes meanwhile waits in the pipeline because this one's cycle is not complete.
    assert "existing_cycle is None or existing_cycle.response_complete" in source_of("on_headers_complete")
    # A server that stops closes a connection that waits, and lets the last response of another say so.
    assert re.search(r"response_complete:\s+self\.transport\.close\(\)", source_of("shutdown"))
    assert STATUS_LINE[201] == b"HTTP/1.1 201 Created\r\n"


def test_no_other_version_is_installed_by_accident() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (bound,) = [one for one in project["dependencies"] if one.startswith("uvicorn")]
    lowest, below = (tuple(map(int, part.split("."))) for part in re.findall(r"\d+\.\d+", bound))
    assert below == (lowest[0], lowest[1] + 1)
    assert lowest <= tuple(map(int, metadata.version("uvicorn").split(".")[:2])) < below
