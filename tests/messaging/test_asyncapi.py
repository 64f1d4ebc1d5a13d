"""The AsyncAPI document: what docs/asyncapi.json says is what the types say, and it is one of AsyncAPI 3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foldbook.engine.asyncapi import asyncapi_document, asyncapi_text
from foldbook.messaging.topology import topology

DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    written: dict[str, Any] = json.loads(DOCUMENT.read_text())
    return written


def test_the_file_is_what_the_types_say() -> None:
    assert DOCUMENT.read_text() == asyncapi_text(), "run: foldbook amqp asyncapi > docs/asyncapi.json"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = list(_references(document))
    assert len(references) > 40
    for reference in references:
        place: Any = document
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


def test_it_has_the_structure_of_asyncapi_3(document: dict[str, Any]) -> None:
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= document["info"].keys()
    for name, channel in document["channels"].items():
        assert {"address", "messages"} <= channel.keys(), name
        words = [] if channel["address"] is None else [w for w in channel["address"].split(".") if w.startswith("{")]
        assert [word.strip("{}") for word in words] == list(channel.get("parameters", {}))
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])
    for message in document["components"]["messages"].values():
        assert {"name", "contentType", "payload"} <= message.keys()
    assert all(isinstance(found, str) for found in _values_of(document, "discriminator"))


def test_every_exchange_with_described_messages_is_bound_as_it_is_declared() -> None:
    channels = asyncapi_document()["channels"]
    declared = {exchange.name: exchange for exchange in topology(1).exchanges}
    described = {
        name: channel["bindings"]["amqp"]["exchange"] for name, channel in channels.items() if name in declared
    }
    assert {"foldbook.events", "foldbook.commands", "foldbook.dead"} <= described.keys()
    for name, exchange in described.items():
        assert (exchange["name"], exchange["type"], exchange["durable"]) == (name, declared[name].type, True)


def _references(value: Any) -> Iterator[str]:
    return _values_of(value, "$ref")


def _values_of(value: Any, wanted: str) -> Iterator[Any]:
    """Of a member of that name, wherever it is; a field of that name is described by an object."""
    if isinstance(value, list):
        for each in value:
            yield from _values_of(each, wanted)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name == wanted:
                yield each
            yield from _values_of(each, wanted)
