"""What the OpenAPI document says of parameters, headers and answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api.conftest import AT, BROKER, EXCHANGE, USER, Engine

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANY = {"400", "408", "414", "421", "429", "431"}


async def document_of(engine: Engine) -> dict[str, Any]:
    return await engine.get("/openapi.json")


def parameters(operation: dict[str, Any], where: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one["schema"] for one in operation.get("parameters", ()) if one["in"] == where}


async def test_every_operation_has_the_answers_that_any_request_can_get(shared_engine: Engine) -> None:
    for path, operations in (await document_of(shared_engine))["paths"].items():
        for method, operation in operations.items():
            assert operation["responses"].keys() >= ANY, (method, path)
            for status in ANY:
                assert operation["responses"][status]["content"].keys() == {"application/problem+json"}


async def test_a_parameter_is_never_null_and_an_integer_has_both_bounds(shared_engine: Engine) -> None:
    seen = 0
    for path, operations in (await document_of(shared_engine))["paths"].items():
        for method, operation in operations.items():
            for name, schema in parameters(operation, "query").items():
                assert "oneOf" not in schema, (method, path, name)
                if schema["type"] == "integer":
                    seen += 1
                    assert {"minimum", "maximum"} <= schema.keys(), (method, path, name)
                    assert isinstance(schema["maximum"], int)
    assert seen > 10


@pytest.mark.parametrize(
    ("header", "good", "bad"),
    [
        ("Idempotency-Key", ["0190b4f2-7c1e-7000-8000-000000000001"], ["", "7", "0190b4f2"]),
        ("If-Match", ['"1"'], ["1", '"01"', "*", '"-1"', 'W/"1"']),
        ("X-Correlation-Id", ["a", "a b"], ["", "a" * 129]),
        ("X-Actor", ["eve"], ["", "a" * 129]),
    ],
)
async def test_a_header_has_a_pattern_and_the_engine_keeps_to_it(
    shared_engine: Engine, header: str, good: list[str], bad: list[str]
) -> None:
    document = await document_of(shared_engine)
    template = "/accounts/{user}/{exchange}/{broker}/halt"
    pattern = parameters(document["paths"][template]["post"], "header")[header]["pattern"]
    for value in (*good, *bad):
        answer = await shared_engine.client.post(f"{AT}/halt", json={}, headers={header: value})
        assert (answer.status_code == 400) == (value in bad) == (re.search(pattern, value) is None), value


async def test_what_no_text_can_be_is_answered_as_described(shared_engine: Engine) -> None:
    """In every parameter of a path and of a query string: NUL, half of a surrogate pair, no UTF-8, too much."""
    await shared_engine.open()
    known = {"user": USER, "exchange": EXCHANGE, "broker": BROKER, "name": "orders"}
    strange = ("%00", "%ED%A0%80", "%FF", "a" * 10_000)
    asked = wrong = 0
    for template, operations in (await document_of(shared_engine))["paths"].items():
        for method, operation in operations.items():
            if template.startswith("/stream/"):
                continue  # A good answer does not end.
            named = {name: known.get(name, "x") for name in parameters(operation, "path")}
            paths = [template.format(**named | {name: value}) for name in named for value in strange]
            for name, schema in parameters(operation, "query").items():
                if schema["type"] == "string":
                    paths += [f"{template.format(**named)}?{name}={value}" for value in strange]
            for path in paths:
                asked += 1
                url = shared_engine.client.base_url.copy_with(raw_path=path.encode())
                answer = await shared_engine.client.request(method, url)
                if str(answer.status_code) not in operation["responses"]:
                    wrong += 1
                    print(method, path[:200], answer.status_code, answer.text[:200])
    assert asked > 300
    assert wrong == 0


async def test_allow_names_the_methods_of_the_document(shared_engine: Engine) -> None:
    for template, operations in (await document_of(shared_engine))["paths"].items():
        path = re.sub(r"\{\w+\}", "x", template)
        documented = {method.upper() for method in operations}
        options = await shared_engine.client.options(path)
        assert (options.status_code, {*options.headers["allow"].split(", ")}) == (204, documented | {"OPTIONS"}), path
        for method in ("GET", "POST", "DELETE", "PATCH"):
            if method not in documented:
                refused = await shared_engine.client.request(method, path)
                assert refused.status_code == 405, (method, path)
                assert {*refused.headers["allow"].split(", ")} >= documented, (method, path)
