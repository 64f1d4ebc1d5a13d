"""Requests by an OpenAPI document, and what must be true of their answers: schemathesis, bounded and repeatable.

On are all its checks but two: ``ignored_auth`` and ``object_level_authorization``, which need keys (tests/access tries
every call with every role).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

SEED = 1
BEHIND = [503, 504]
"""What a server may say that is asked to wait for what never comes."""
REFUSED = ["2xx", 401, 404, 409, 412, 422, 426, 429, *BEHIND]
"""The answers to a request that can be read: a rule that no schema has may forbid it."""

RULES = (
    "exclude each other",
    "hash needs a position in after",
    "and this log has 1",
    "is not `next` of another page",
    "one sequence in quotes",
    "is the id of an event",
    "Expected `int | null`, got `float`",
    "Expected `int`, got `float`",
)
"""Rules between parameters, and how many shards there are, which a schema has no words for; If-Match, whose quotes the
coverage phase drops; and 1.0, which is an integer to JSON Schema, and not to whoever wants a number without a fraction
to be written as one."""


class Found(NamedTuple):
    """What was wrong with an answer."""

    operation: str
    check: str
    what: str
    request: str
    answer: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.check}: {self.what}\n    > {self.request}\n    < {self.answer}"


@schemathesis.serializer("application/x-ndjson")
def as_lines(_: schemathesis.SerializationContext, value: Any) -> Any:
    """One command, as a line."""
    return msgspec.json.encode(value) + b"\n" if not isinstance(value, bytes) else value


def findings(url: str, phases: tuple[str, ...], examples: int, seconds: float, **parameters: str) -> Iterator[Found]:
    """The first of each kind. ``parameters``: values that are the same in every request."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "continue-on-failure": True,
            "request-timeout": 20,
            "max-stream-events": 1,
            "parameters": parameters,
            "generation": {"max-examples": examples, "database": "none", "deterministic": True},
            "phases": {name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")},
            # Its lines are answered one by one.
            "operations": [
                {"include-name": "POST /commands", "checks": {"negative_data_rejection": {"enabled": False}}}
            ],
            "checks": {
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", *BEHIND]},
                "positive_data_acceptance": {"expected-statuses": REFUSED},
                "ignored_auth": {"enabled": False},
                "object_level_authorization": {"enabled": False},
            },
        }
    )
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    ends_at_s = time.monotonic() + seconds
    stream = from_schema(schema).execute()
    asked = 0
    for event in stream:
        if isinstance(event, events.ScenarioFinished):
            asked += len(event.recorder.cases)
        yield from _found_in(event)
        if time.monotonic() > ends_at_s:
            stream.stop()
    assert asked, "nothing was asked in time"


def _found_in(event: events.EngineEvent) -> Iterator[Found]:
    if isinstance(event, events.FatalError):
        raise event.exception
    if isinstance(event, events.NonFatalError):
        yield Found(event.label, "error", repr(event.value)[:500], "", "")
    if not isinstance(event, events.ScenarioFinished):
        return
    recorder = event.recorder
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is None:
                continue
            failure, case = check.failure_info.failure, recorder.cases[case_id].value
            request = f"{case.method} {case.formatted_path} ? {case.query} {case.headers} {case.body!r}"
            seen = recorder.interactions[case_id].response
            answer = "" if seen is None else f"{seen.status_code} {(seen.content or b'')[:300]!r}"
            if check.name == "positive_data_acceptance" and any(rule in answer for rule in RULES):
                continue
            what = f"{failure.title}. {failure.message}".replace("\n", " ")[:400]
            yield Found(case.operation.label, check.name, what, request[:400], answer)
