"""What RabbitMQ says of messages: confirmed in any order, many at once, refused in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldbook.messaging.publishing import Confirms

ACK, NACK = True, False


@pytest.mark.parametrize(
    ("told", "count"),
    [
        ([(1, ACK, False), (2, ACK, False)], 2),
        ([(2, ACK, False)], 0),
        ([(2, ACK, False), (1, ACK, False)], 2),
        ([(7, ACK, True)], 7),
        ([(2, ACK, False), (4, ACK, False), (3, ACK, True)], 4),
        ([(3, NACK, False), (7, ACK, True)], 2),
        ([(3, NACK, False), (2, ACK, True), (7, ACK, True)], 2),
        ([(5, NACK, False), (3, NACK, False), (7, ACK, True)], 2),
        ([(2, ACK, True), (5, NACK, True), (7, ACK, True)], 2),
        ([(5, ACK, False), (4, NACK, True), (7, ACK, True)], 0),
        ([(0, ACK, True)], 0),
    ],
)
def test_where_one_was_refused_the_count_stands(told: list[tuple[int, bool, bool]], count: int) -> None:
    confirms = Confirms()
    for tag, is_ack, is_multiple in told:
        confirms.take(tag, is_ack=is_ack, is_multiple=is_multiple)
    assert confirms.count == count


@given(data=st.data(), taken=st.lists(st.booleans(), min_size=1, max_size=40))
def test_never_more_is_counted_than_was_taken(data: st.DataObject, taken: list[bool]) -> None:
    """RabbitMQ as it is: whenever it speaks, it names what it refused, confirms at once all below the first of which
    nothing was said yet, and the others one by one."""
    confirms = Confirms()
    settled = data.draw(st.permutations(range(1, len(taken) + 1)))
    unsaid = set(settled)
    while settled:
        said, settled = settled[: (n := data.draw(st.integers(1, len(settled))))], settled[n:]
        unsaid -= set(said)
        for tag in said:
            if not taken[tag - 1]:
                confirms.take(tag, is_ack=False, is_multiple=False)
        acks = [tag for tag in said if taken[tag - 1]]
        below = [tag for tag in acks if tag < min(unsaid, default=len(taken) + 1)]
        if below:
            confirms.take(max(below), is_ack=True, is_multiple=True)
        for tag in set(acks) - set(below):
            confirms.take(tag, is_ack=True, is_multiple=False)
        first_not_taken = next(
            (n for n, is_taken in enumerate(taken, 1) if not is_taken or n in unsaid), len(taken) + 1
        )
        assert confirms.count == first_not_taken - 1
    assert (confirms.refused is None) == all(taken)
