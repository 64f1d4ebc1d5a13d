"""The commands' part of the OpenAPI document, generated from their declarations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from foldbook.api.commands import bulk
from foldbook.api.commands.calls import CommandCall
from foldbook.api.commands.envelope import CORRELATION_ID, HEADERS, ON_BEHALF_OF, RequestHeader
from foldbook.api.problems import GATE_PROBLEMS, answers_in_openapi
from foldbook.eventstore.command_json import CommandLines, declaration_of, identity_of
from foldbook.eventstore.commands.documents import result_type
from foldbook.eventstore.events import Command

COMMAND_PROBLEMS = (
    "malformed",
    "idempotency-conflict",
    "sequence-conflict",
    "body-too-large",
    "unsupported-media-type",
    "invalid-command",
    "overloaded",
    "unavailable",
    *GATE_PROBLEMS,
)
"""The problems that any command can have; its declaration has the refusals of its domain."""

JSON = "application/json"
TAGS = ["commands"]
_SCHEMAS = "#/components/schemas/{name}"
_PROBLEM = {"$ref": _SCHEMAS.format(name="ProblemDocument")}

Json = dict[str, Any]


def command_paths(commands: Sequence[type[Command]], calls: Iterable[CommandCall]) -> tuple[Json, Json]:
    """The paths of all commands, and the schemas that they refer to."""
    calls = tuple(calls)
    lines = CommandLines(commands)
    results = list({result_type(identity_of(command)): None for command in commands})
    bodies = [call.body.form.type for call in calls]
    types = [lines.type, *results, *bodies]
    (line, *_), schemas = msgspec.json.schema_components(types, ref_template=_SCHEMAS)
    paths: Json = {bulk.PATH: {"post": _bulk_operation(line, [_reference(one) for one in results])}}
    for call in calls:
        paths.setdefault(call.template, {})[call.method.lower()] = _operation(call)
    return paths, schemas


def description_of(call: CommandCall) -> str:
    return call.call.description or inspect.getdoc(call.command_type) or call.name


def problems_of(call: CommandCall) -> tuple[str, ...]:
    return (*declaration_of(call.command_type).refusals, *COMMAND_PROBLEMS)


def _operation(call: CommandCall) -> Json:
    body = {"required": not call.call.may_be_empty, "content": _content(JSON, _reference(call.body.form.type))}
    return {
        "tags": TAGS,
        "summary": call.name,
        "description": description_of(call),
        "operationId": _operation_id(call),
        "parameters": [*_path_parameters(call), *map(_header_parameter, HEADERS)],
        "requestBody": body,
        "responses": {**_results(call), **answers_in_openapi(problems_of(call))},
    }


def _path_parameters(call: CommandCall) -> list[Json]:
    parts = [part for field in call.in_path for part in field.parts.items()]
    return [
        {"name": name, "in": "path", "required": True, "schema": _inline_schema(declared)} for name, declared in parts
    ]


def _inline_schema(declared: Any) -> Json:
    (schema,), components = msgspec.json.schema_components([declared])
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Json = components[name] if name else schema
    return found


def _header_parameter(header: RequestHeader) -> Json:
    return {
        "name": header.name,
        "in": "header",
        "required": False,
        "description": header.description,
        "schema": header.schema,
    }


def _results(call: CommandCall) -> Json:
    content = _content(JSON, _reference(call.document.type))
    sequence = {"ETag": _header("The aggregate's sequence, in quotes")}
    if call.call.creates is None:
        return {"200": {"description": "Done", "headers": sequence, "content": content}}
    created = {**sequence, "Location": _header("The path of what was created")}
    return {
        "201": {"description": "Created", "headers": created, "content": content},
        "200": {"description": "Done before", "headers": created, "content": content},
    }


def _bulk_operation(line: Json, results: list[Json]) -> Json:
    content = _content(bulk.MEDIA_TYPE, {"anyOf": [*results, _PROBLEM]})
    return {
        "tags": TAGS,
        "summary": "ExecuteCommands",
        "description": (
            "Many commands, one per line, answered line by line in the same order: a result or a problem.\n\n"
            "Commands to one aggregate are executed in order. A line may have up to 1 MiB, the body up to 64 MiB."
        ),
        "operationId": "CommandsExecuteCommands",
        "parameters": [_header_parameter(header) for header in (ON_BEHALF_OF, CORRELATION_ID)],
        "requestBody": {"required": False, "content": _content(bulk.MEDIA_TYPE, line)},
        "responses": {
            str(HTTPStatus.OK.value): {"description": "A line for each line", "content": content},
            **answers_in_openapi(bulk.PROBLEMS),
        },
    }


def _content(media_type: str, schema: Json) -> Json:
    return {media_type: {"schema": schema}}


def _header(description: str) -> Json:
    return {"description": description, "required": False, "schema": {"type": "string"}}


def _reference(struct: type) -> Json:
    return {"$ref": _SCHEMAS.format(name=struct.__name__)}


def _operation_id(call: CommandCall) -> str:
    """An id like Litestar's: each word of the path once, then the name."""
    words = ""
    for part in call.template.split("/"):
        if (word := part.strip("{}").title()) not in words:
            words += word
    return re.sub(r"\W|_", "", words + call.name)
