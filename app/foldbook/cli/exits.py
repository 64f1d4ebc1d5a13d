"""Exit codes: what each one means, and which error ends with which."""

from __future__ import annotations

from enum import IntEnum

from foldbook.engine.lock import AlreadyRunning
from foldbook.errors import LogMismatch, StoreUnavailable


class Exit(IntEnum):
    """The codes of every command but ``psql``, ``pg_dump`` and ``pg_restore``, which end with the program's own."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Exit:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done"
    FAILED = 1, "failed: the last line on standard error says why"
    USAGE = 2, "wrong usage, or a setting with an invalid value"
    ALREADY_RUNNING = 3, "an engine already runs on this data folder"
    UNREACHABLE = 4, "the database cannot be reached, or does not give the session that is needed"
    DIFFERENT = 5, "a verification found a difference, or could not compare everything"
    OTHER_LOG = 6, "the database's log is not the one that the settings describe, or there is none"
    UNWELL = 7, "doctor found something wrong, and says what mends it"


_OF_ERRORS: dict[type[Exception], Exit] = {
    AlreadyRunning: Exit.ALREADY_RUNNING,
    StoreUnavailable: Exit.UNREACHABLE,
    LogMismatch: Exit.OTHER_LOG,
}


def exit_of(error: Exception) -> Exit:
    """The exit code for an error."""
    return next((code for kind, code in _OF_ERRORS.items() if isinstance(error, kind)), Exit.FAILED)


def explain() -> str:
    """The table of codes, for ``--help``."""
    return "Exit codes:\n" + "\n".join(f"  {code.value}  {code.meaning}" for code in Exit)
