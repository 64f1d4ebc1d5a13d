"""The venue answers as its OpenAPI document says, whatever is asked."""

from __future__ import annotations

from tests.api.contract import findings
from tests.venue.running import RunningVenue

EXAMPLES = 3
SECONDS_MAX = 5


def test_every_operation_is_answered_as_described(venue: RunningVenue) -> None:
    found = list(findings(venue.url, ("examples", "fuzzing", "stateful"), EXAMPLES, SECONDS_MAX))
    assert not found, "\n".join(map(str, found[:20]))
