"""The files of ``sql/`` that a migration creates again when they change: what each defines, and what it needs.

A file defines the object of its name, and names others with their schema. So what a file depends on can be read in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from foldbook.resources import ROOT, code_files

UPCASTERS = "upcast"
_QUALIFIED_NAME = re.compile(rb"\b(\w+\.\"?\w+)")
_SCHEMA_OF_FOLDER = {"security": "eventstore", "upcasters": UPCASTERS}
"""A folder of ``sql/`` is a schema of the same name, except for these."""


def read_code() -> dict[Path, bytes]:
    """The text of every file."""
    return {path: path.read_bytes() for path in code_files()}


def object_of(path: Path) -> str:
    """The object that a file defines, with its schema."""
    return f"{schema_of(path)}.{path.stem}"


def schema_of(path: Path) -> str:
    """The schema of the object that a file of ``code_files`` defines: its first folder."""
    folder = path.relative_to(ROOT / "sql").parts[0]
    return _SCHEMA_OF_FOLDER.get(folder, folder)


def code_schemas() -> list[str]:
    """The schemas of the objects that ``code_files`` define, and that of upcasters, even if there are none."""
    return sorted({UPCASTERS, *map(schema_of, code_files())})


def named_in(text: bytes, objects: Collection[str]) -> list[str]:
    """Those of ``objects`` that a text names."""
    return sorted({*objects} & {name.decode().replace('"', "") for name in _QUALIFIED_NAME.findall(text)})


def needs_of(files: Mapping[Path, bytes]) -> dict[Path, list[str]]:
    """The objects that each file names and another one of ``files`` defines."""
    defined = {object_of(path) for path in files}
    return {path: [name for name in named_in(text, defined) if name != object_of(path)] for path, text in files.items()}


def in_order_of_need(files: Mapping[Path, bytes]) -> list[Path]:
    """Each file after those that it depends on."""
    by_object = {object_of(path): path for path in files}
    needs = {path: [by_object[name] for name in names] for path, names in needs_of(files).items()}
    return list(TopologicalSorter(needs).static_order())


def upcasters_of(event_types: Iterable[str], files: Mapping[Path, bytes]) -> dict[str, bytes]:
    """The upcasters of these event types and all that they need, by object."""
    by_object = {object_of(path): path for path in files}
    wanted = [name for name in by_object if name.rpartition("_")[0] in {f"{UPCASTERS}.{t}" for t in event_types}]
    needs = needs_of(files) if wanted else {}
    found: dict[str, bytes] = {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = files[by_object[name]]
            wanted += needs[by_object[name]]
    return dict(sorted(found.items()))
