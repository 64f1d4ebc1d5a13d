"""What a test needs and may not find on every machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def leave_out(reason: str, *, can_be_had: bool = True) -> NoReturn:
    """Skips the test, and the run ends with the reason. With TEST_EVERYTHING set, the test fails instead, if what it
    lacks can be had: not so another user than this one."""
    if can_be_had and os.environ.get("TEST_EVERYTHING"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
