"""The files of the product that are not Python: ``sql/`` and ``alembic/``.

A checkout has them beside the package; an installed wheel carries them inside it, as ``app/_resources/``.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_resources"
ROOT = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent


def alembic_folder() -> Path:
    """The migrations of the write side's tables."""
    return ROOT / "alembic"


def sql_files(folder: str) -> list[Path]:
    """The files of one folder of ``sql/`` ("functions", "projections", ...), in the order of their names."""
    return sorted((ROOT / "sql" / folder).glob("*.sql"))
