"""What Litestar's description of a route leaves out, taken from the same declarations: bounds, formats, problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from foldbook.api.commands.envelope import HEADERS
from foldbook.api.problems import GATE_PROBLEMS, MEDIA_TYPE, by_status
from foldbook.api.routes import templates_of

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_PROBLEM = {"$ref": _REFERENCE.format(name="ProblemDocument")}
_HEADERS = {header.name: header.schema for header in HEADERS}


def complete(document: Json, routes: Iterable[HTTPRouteHandler]) -> None:
    """Completes ``document``, the OpenAPI document that Litestar made of ``routes``."""
    bodies = []
    for route, operation in _operations(document, routes):
        for parameter in operation.get("parameters", ()):
            _complete_parameter(route, parameter)
        _complete_problems(operation["responses"])
        if route.parsed_data_field is not None:
            bodies.append(route.parsed_data_field.annotation)
    # Litestar's own has no word for a tuple of any length, say.
    _, schemas = msgspec.json.schema_components(bodies, ref_template=_REFERENCE)
    document["components"]["schemas"] |= schemas


def _operations(document: Json, routes: Iterable[HTTPRouteHandler]) -> Iterator[tuple[HTTPRouteHandler, Json]]:
    for route in routes:
        for path in templates_of(route):
            for method in route.http_methods:
                yield route, document["paths"][path][method.lower()]


def _complete_parameter(route: HTTPRouteHandler, parameter: Json) -> None:
    if parameter["in"] == "header":
        parameter["schema"] = _HEADERS.get(parameter["name"], parameter["schema"])
    if parameter["in"] != "query":
        return
    schema = parameter["schema"]
    if "oneOf" in schema:  # Absent is not null, which a parameter cannot be.
        (kind,) = (each for each in schema.pop("oneOf") if each != {"type": "null"})
        schema |= kind
    declared = route.parsed_fn_signature.parameters[parameter["name"]].kwarg_definition
    if isinstance(declared, QueryParameter):
        # Litestar has no minimum of 0, and tells the maximum as a float.
        bounds = {"minimum": declared.ge, "maximum": declared.le}
        schema |= {name: value for name, value in bounds.items() if value is not None}


def _complete_problems(responses: Json) -> None:
    """Litestar tells its own form of a request that it cannot read, and only where there is something to read."""
    if "204" in responses:  # Litestar says what type it would have.
        responses["204"].pop("content", None)
    for status, codes in by_status(GATE_PROBLEMS).items():
        known = responses.get(str(status), {})
        if MEDIA_TYPE not in known.get("content", {}):
            responses[str(status)] = {
                "description": ", ".join(codes),
                "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
            }
