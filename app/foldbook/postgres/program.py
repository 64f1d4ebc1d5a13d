"""The version of this program, and the refusal of a database whose code a newer one has replaced.

The code in a database belongs to the program that replaced it last. Its version is in ``eventstore.log_info``, and does
not rise with a program that has the same files. Programs of the same version may replace each other's code, as
checkouts in development do.
"""

from __future__ import annotations

from importlib import metadata

from packaging.version import Version

from foldbook.errors import LogMismatch

VERSION = metadata.version("foldbook")

WHOSE_CODE = "select program from eventstore.log_info"
"""Asked only where the column is (``sessions.Found``). Its name may never change."""


def refuse_newer(program: str | None) -> None:
    """Raises :class:`LogMismatch` if the code in the database is of a newer program."""
    if program is not None and Version(program) > Version(VERSION):
        raise LogMismatch(
            f"the database has the code of Foldbook {program}, and this is Foldbook {VERSION}: run {program} or newer. "
            "To go back, restore a backup from before the upgrade"
        )
