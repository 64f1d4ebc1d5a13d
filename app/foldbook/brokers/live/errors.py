"""Why an account cannot be worked at an exchange."""

from __future__ import annotations

from foldbook.errors import FoldbookError


class LiveError(FoldbookError, code="live-broker", title="The account cannot be worked at its exchange"):
    """It is set up wrongly, or the exchange refuses it: a person must change something."""


class NotSent(Exception):
    """The request never left this machine."""


class Unclear(Exception):
    """There is no answer, or none that makes sense. Its text says why, without credentials."""


class Said(Exception):
    """The exchange answered with an error of its own.

    ``status``: of HTTP. ``text``: what it said, without credentials. ``body``: the same, decoded.
    """

    def __init__(self, status: int, body: object, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status
        self.body = body
        self.text = text
