"""The answer to a command as its sender reads it: the result, or the error that the command bus would have raised."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from foldbook.errors import FoldbookError, IdempotencyConflict, Overloaded, Refusal, SequenceConflict, StoreUnavailable
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Command
from foldbook.problems import code_of

_REFUSED = (404, 409, 412, 422)
_BUSY = (429, 503)
_LATER = ("expired", "redelivered")
"""The engine could not get at it in time. Sent again it is done once: its id is the same."""


class CommandFailed(FoldbookError):
    """The command was not decided: its key may not send it, it cannot be read, or the engine failed. ``code`` says
    which, and it will be the same if the command is sent again."""

    def __init__(self, code: str, detail: str, **details: object) -> None:
        super().__init__(detail, **details)
        self.code = code


def settle(future: asyncio.Future[CommandResult], text: bytes, command: Command) -> None:
    """What is answered becomes the future's, unless nobody waits for it any more."""
    if future.done():
        return
    try:
        future.set_result(read_answer(text, command))
    except FoldbookError as error:
        future.set_exception(error)


def read_answer(text: bytes, command: Command) -> CommandResult:
    """The result. Raises what the problem says, and ``StoreUnavailable`` if it says nothing that can be read."""
    try:
        document = msgspec.json.decode(text, type=dict[str, Any])
        if "type" in document:
            raise _error_of(document)
        return msgspec.convert({**document, "aggregate_id": command.aggregate_id}, CommandResult)
    except msgspec.MsgspecError as error:
        raise StoreUnavailable(f"the answer cannot be read: {text[:200]!r}: {error}", in_doubt=True) from error


def _error_of(document: dict[str, Any]) -> FoldbookError:
    code = code_of(str(document.pop("type")))
    detail, status = str(document.pop("detail", code)), document.pop("status", 500)
    document.pop("title", None)
    if code == SequenceConflict.CODE:
        return SequenceConflict(document["expected"], document["actual"])
    if code == IdempotencyConflict.code:
        return IdempotencyConflict(detail)
    if code in _LATER:
        return StoreUnavailable(detail, in_doubt=True)
    if code == StoreUnavailable.code:
        return StoreUnavailable(detail, in_doubt=document.get("in_doubt") is True)
    if status in _BUSY:
        return Overloaded(detail)
    if status in _REFUSED:
        return Refusal(code, detail, **document)
    return CommandFailed(code, detail, **document)
