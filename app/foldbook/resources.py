"""The files of the product that are not Python: ``sql/`` and ``alembic/``.

A checkout has them next to ``app/``; an installed wheel has them inside the package, in ``foldbook/_resources/``.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
# A process that may not enter the folders above must not look for other names of this one.
_IS_HANDED_OVER = _HERE.is_relative_to("/proc/self/fd")
_PACKAGE = _HERE if _IS_HANDED_OVER else _HERE.resolve()
_CHECKOUT = _PACKAGE / ".." / ".." if _IS_HANDED_OVER else _PACKAGE.parents[1]
_INSTALLED = _PACKAGE / "_resources"
ROOT = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def alembic_folder() -> Path:
    """The migrations of the write side's tables."""
    return ROOT / "alembic"


def projection_files() -> list[Path]:
    """The read models of the domains: ``sql/<domain>/projections/<name>.sql``, in the order of their names."""
    return sorted(filter(_is_read_model, (ROOT / "sql").rglob("*.sql")), key=lambda path: path.stem)


def code_files() -> list[Path]:
    """Every other file of ``sql/``: functions, views, triggers. A migration creates them all again if one changed."""
    return sorted(path for path in (ROOT / "sql").rglob("*.sql") if not _is_read_model(path))


def _is_read_model(path: Path) -> bool:
    # eventstore/projections holds what runs projections, not read models.
    return path.parent.name == "projections" and path.parent.parent.name != "eventstore"
