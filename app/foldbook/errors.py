"""What can go wrong, as classes with a stable code.

::

    FoldbookError
    ├── Refusal                 the aggregate said no: recorded, and answered the same way when asked again
    ├── SequenceConflict        the caller's expected sequence is not the aggregate's (recorded as a refusal)
    ├── IdempotencyConflict     the same command id came with other content
    ├── Overloaded              a bounded queue is full, or contention outlasted its retries: try again later
    ├── StoreUnavailable        the database did not answer in time; the command's fate may be unknown
    ├── UnknownEvent            a type or schema version that this program does not know
    ├── ProjectionError         unknown projection, or one that is busy or failed
    └── LogMismatch             the database's log is not the one the settings describe

The SQLSTATEs of class ``FB`` that sql/ raises are listed in ``sql/README.md``.
"""

from __future__ import annotations

from typing import ClassVar


class FoldbookError(Exception):
    """Base of all. ``code`` is stable and part of the interface."""

    code: ClassVar[str] = "error"


class Refusal(FoldbookError):
    """A command that the aggregate refused. ``code`` is the refusal's own; ``details`` are named facts, JSON-ready."""

    def __init__(self, code: str, detail: str, **details: object) -> None:
        super().__init__(detail)
        self.refusal = code
        self.detail = detail
        self.details = details


class SequenceConflict(Refusal):
    """The command was conditional on a sequence that is not the aggregate's."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(
            "sequence-conflict",
            f"expected the aggregate at sequence {expected}, it is at {actual}",
            expected=expected,
            actual=actual,
        )


class IdempotencyConflict(FoldbookError):
    code = "idempotency-conflict"


class Overloaded(FoldbookError):
    """``retry_after_s``: seconds after which trying again makes sense."""

    code = "overloaded"

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class StoreUnavailable(FoldbookError):
    """The database could not be reached in time. ``in_doubt``: the command may have been recorded all the same;
    ask again with the same command id to learn."""

    code = "unavailable"

    def __init__(self, detail: str, *, in_doubt: bool = False, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.in_doubt = in_doubt
        self.retry_after_s = retry_after_s


class UnknownEvent(FoldbookError):
    code = "unknown-event"

    def __init__(self, type_name: str, schema_version: int) -> None:
        super().__init__(f"no event type {type_name!r} with schema version {schema_version} is known here")


class ProjectionError(FoldbookError):
    """``code`` varies: ``unknown-projection``, ``projection-busy``, ``projection-failed``,
    ``projection-not-stopped``."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.projection_code = code


class LogMismatch(FoldbookError):
    code = "log-mismatch"
