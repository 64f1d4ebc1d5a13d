"""What Litestar's OpenAPI of a route leaves out, taken from the same declarations: bounds, formats, problems."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from foldbook.problems import MEDIA_TYPE

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_TYPE = re.compile(r":\w+\}")


def problem_answer(codes: Iterable[str]) -> Json:
    """An answer that is a problem with one of these codes."""
    schema = {"$ref": _REFERENCE.format(name="ProblemDocument")}
    return {"description": ", ".join(codes), "content": {MEDIA_TYPE: {"schema": schema}}}


def templates_of(route: HTTPRouteHandler) -> list[str]:
    """Its paths without the types of their parameters."""
    return [_TYPE.sub("}", path) for path in sorted(route.paths)]


def complete(
    document: Json, routes: Iterable[HTTPRouteHandler], problems: Mapping[int, list[str]], headers: Mapping[str, Json]
) -> None:
    """Completes ``document``, the OpenAPI document that Litestar made of ``routes``. ``problems``: the codes that every
    route can be answered with, by status; ``headers``: the schemas of headers, by name."""
    bodies = []
    for route, operation in _operations(document, routes):
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "header":
                parameter["schema"] = headers.get(parameter["name"], parameter["schema"])
            elif parameter["in"] == "query":
                _complete_parameter(route, parameter)
        _complete_problems(operation["responses"], problems)
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
    schema = parameter["schema"]
    if "oneOf" in schema:  # Absent is not null, which a parameter cannot be.
        (kind,) = (each for each in schema.pop("oneOf") if each != {"type": "null"})
        schema |= kind
    declared = route.parsed_fn_signature.parameters[parameter["name"]].kwarg_definition
    if isinstance(declared, QueryParameter):
        # Litestar has no minimum of 0, and tells the maximum as a float.
        bounds = {"minimum": declared.ge, "maximum": declared.le}
        schema |= {name: value for name, value in bounds.items() if value is not None}


def _complete_problems(responses: Json, problems: Mapping[int, list[str]]) -> None:
    """Litestar tells its own form of a request that it cannot read, and only where there is something to read."""
    if "204" in responses:  # Litestar says what type it would have.
        responses["204"].pop("content", None)
    for status, codes in problems.items():
        known = responses.get(str(status), {})
        if MEDIA_TYPE not in known.get("content", {}):
            responses[str(status)] = problem_answer(codes)
