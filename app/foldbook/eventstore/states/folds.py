"""What the fold of an aggregate depends on beside its events: the code that folds them, and their upcasters.

A version that somebody has to raise is forgotten. So the digest is over the source itself: of the module of ``evolve``
and of every module that this one imports, directly or not, from the same top-level package.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from foldbook.eventstore.decider import Decider
from foldbook.postgres.code import read_code, upcasters_of


def fold_digest(decider: Decider[Any]) -> str:
    """SHA-256 over the fold's code and the upcasters of the decider's events, as they are when first asked for."""
    return digest_of(decider.evolve.__module__, tuple(t.__name__ for t in decider.event_types.types))


@lru_cache
def digest_of(module: str, event_types: tuple[str, ...]) -> str:
    """The same, of the module that folds and the names of the events."""
    parts = {name.encode(): source for name, source in _sources(module).items()}
    parts |= {name.encode(): text for name, text in upcasters_of(event_types, read_code()).items()}
    digest = hashlib.sha256()
    for name, text in sorted(parts.items()):
        digest.update(hashlib.sha256(name).digest() + hashlib.sha256(text).digest())
    return digest.hexdigest()


def _sources(module: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    wanted = [module]
    while wanted:
        name = wanted.pop()
        if name in found or (path := _file_of(name)) is None:
            continue
        found[name] = path.read_bytes()
        wanted += [
            imported for imported in _imports(found[name]) if imported.partition(".")[0] == name.partition(".")[0]
        ]
    return found


def _file_of(module: str) -> Path | None:
    """Where the source of a module is; None: there is no such module, or it has no source."""
    loaded = sys.modules.get(module)
    try:
        spec = loaded.__spec__ if loaded is not None else find_spec(module)
    except ModuleNotFoundError:  # a name in a module
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None and spec.has_location else None


def _imports(source: bytes) -> Iterator[str]:
    """The modules that a source names in imports, and each name that it imports, which may be a module too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
