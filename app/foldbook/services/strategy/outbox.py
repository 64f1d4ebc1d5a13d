"""A strategy's commands on their way into the log: in their order, each once, whatever the database does meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from foldbook.errors import Overloaded, Refusal, StoreUnavailable
from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Metadata
from foldbook.messaging.transport import Commands
from foldbook.trading.commands import BookCommand

SEND_MAX = 128
"""Commands that are under way at once."""
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.05, 5.0

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Sent(NamedTuple):
    """What became of commands: the position of the last event of those that were accepted, 0 if there is none; and
    those that were refused, with the reason."""

    position: int
    refused: Sequence[tuple[BookCommand, Refusal]]


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Call again while the database cannot be reached. A loss is logged once."""
    backoff = Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
    is_lost = False
    while True:
        try:
            result = await call()
        except (StoreUnavailable, Overloaded) as error:
            if not is_lost:
                logger.warning("the log does not answer, and is asked again: %s", error)
            is_lost = True
            await asyncio.sleep(backoff.next_s())
        else:
            if is_lost:
                logger.info("the log answers again")
            return result


async def send(bus: Commands, commands: Sequence[BookCommand], metadata: Metadata) -> Sent:
    """Send the commands in their order. One without an answer is sent again, with all that follow it: the ids make that
    harmless."""
    position = 0
    refused: list[tuple[BookCommand, Refusal]] = []
    for begin in range(0, len(commands), SEND_MAX):
        left = list(commands[begin : begin + SEND_MAX])

        async def send_left(left: list[BookCommand] = left) -> None:
            nonlocal position
            futures: list[asyncio.Future[CommandResult]] = []
            try:
                futures += (bus.submit(command, metadata=metadata) for command in left)
            finally:
                answers = await asyncio.gather(*futures, return_exceptions=True)
                for answer in answers:
                    if isinstance(answer, Refusal):
                        refused.append((left.pop(0), answer))
                    elif isinstance(answer, BaseException):
                        raise answer
                    else:
                        position = max(position, answer.position)
                        del left[0]

        await patiently(send_left)
    return Sent(position, refused)
