"""A failover under load, to a synchronous replica and to one that lagged behind; the soak has many of both."""

from __future__ import annotations

import pytest

from tests.proof.failover import fail_over_under_load


@pytest.mark.parametrize("is_synchronous", [True, False], ids=["synchronous", "asynchronous"])
async def test_a_failover_under_load_loses_nothing_untold(is_synchronous: bool) -> None:
    assert await fail_over_under_load(is_synchronous=is_synchronous)
