"""What a database has that this program, and nobody else, has made: the reference that others are compared with.

It is made of the files, by an embedded server of this machine, in a folder that is removed again. So nothing that the
database under examination holds is believed, and the examiner needs no more there than to read the catalog. What came
of it is kept in the user's cache (``$XDG_CACHE_HOME/foldbook``), under a digest of the files that it was made of.

The server writes definitions as its version does. Another version's are read and written again by this one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import msgspec
import psycopg

from foldbook.eventstore.readers.definitions import Definition
from foldbook.postgres.binaries import MAJOR_VERSION
from foldbook.postgres.code import code_schemas
from foldbook.postgres.embedded import SETTINGS, EmbeddedPostgres
from foldbook.postgres.roles import ENGINE
from foldbook.resources import ROOT, alembic_folder, projection_files

_SETTINGS = {**SETTINGS, "fsync": "off", "shared_buffers": "16MB", "max_connections": "10", "max_wal_size": "256MB"}
_INSTALL = "select eventstore.projection_install(%s, %s, %s)"
_PIN = "select set_config('search_path', 'pg_catalog, pg_temp', true), set_config('check_function_bodies', 'off', true)"
_BODY = re.compile(r"\nas \$\$\n(.*)\n\$\$;", re.DOTALL)
_REWRITTEN_MAX = 1_000
_KEPT_MAX = 10
"""References of other versions of the program that stay in the cache."""


class Entry(msgspec.Struct, frozen=True):
    """A row of ``audit.catalog``. ``object``: the schema, relation or routine that it is about."""

    object: str | None
    kind: str
    name: str
    detail: str | None


Catalog = dict[tuple[str, str], Entry]
"""By kind and name."""
Written = Mapping[tuple[str, str], str]
"""Definitions of views and functions, by kind and name."""


class _Kept(msgspec.Struct):
    """``rewritten``: how this server writes what another version's wrote, by the digest of that."""

    entries: list[Entry]
    rewritten: dict[str, str | None]


def read_catalog(connection: psycopg.Connection[tuple[object, ...]]) -> Catalog:
    """The catalog of a migrated database, asked with the text of this program's own file."""
    found = _BODY.search((ROOT / "sql" / "audit" / "guards" / "catalog.sql").read_text(encoding="utf-8"))
    assert found is not None
    with connection.transaction(force_rollback=True):
        connection.execute(_PIN)
        rows = psycopg.RawCursor(connection).execute(found[1].encode(), [[*code_schemas(), "read"]]).fetchall()
    entries = [msgspec.convert(row, tuple[str | None, str, str, str | None]) for row in rows]
    return {(entry[1], entry[2]): Entry(*entry) for entry in entries}


class Reference:
    """The reference for this program's files. Raises ``EmbeddedPostgresError`` if it can be neither found nor made."""

    def __init__(self) -> None:
        self._path = _cache_folder() / f"reference-{_digest_of_files()}.json"
        kept = _read(self._path)
        if kept is None:
            with _server() as server, psycopg.connect(server.dsn) as connection:
                kept = _Kept([*read_catalog(connection).values()], {})
            _write(self._path, kept)
        self._kept = kept
        self.catalog: Catalog = {(entry.kind, entry.name): entry for entry in kept.entries}

    def rewrite(self, written: Written) -> dict[tuple[str, str], str | None]:
        """These definitions as this server writes them; None: it cannot read one in the place of its own."""
        keys = {key: hashlib.sha256(repr((key, text)).encode()).hexdigest() for key, text in written.items()}
        if unknown := {key: text for key, text in written.items() if keys[key] not in self._kept.rewritten}:
            with _server() as server, psycopg.connect(server.dsn) as connection:
                for key, text in unknown.items():
                    self._kept.rewritten[keys[key]] = _rewritten(connection, *key, text)
            _write(self._path, self._kept)
        return {key: self._kept.rewritten[digest] for key, digest in keys.items()}


def _rewritten(connection: psycopg.Connection[tuple[object, ...]], kind: str, name: str, text: str) -> str | None:
    statement = f"create or replace view {name} as {text}" if kind == "view" else text
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(_PIN)
            connection.execute(statement.encode(), binary=True)  # binary: one statement, not several
            entry = read_catalog(connection).get((kind, name))
    except psycopg.Error:
        return None
    return entry.detail if entry is not None else None


@contextmanager
def _server() -> Iterator[EmbeddedPostgres]:
    """A server with a database as the first start of this program makes it, ended and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="foldbook-reference-"))
    server = EmbeddedPostgres(folder, _SETTINGS)
    try:
        server.start()
        from foldbook.postgres.migrations import migrate  # alembic takes long to import

        migrate(server.dsn, shard_count=1)
        with psycopg.connect(server.dsn_of(ENGINE)) as engine:
            for definition in map(Definition.read, projection_files()):
                engine.execute(_INSTALL, [definition.name, definition.sql, list(definition.aggregate_types)])
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _digest_of_files() -> str:
    digest = hashlib.sha256(MAJOR_VERSION.to_bytes(2))
    for path in sorted([*(ROOT / "sql").rglob("*.sql"), *alembic_folder().rglob("*.py")]):
        digest.update(hashlib.sha256(str(path.relative_to(ROOT)).encode()).digest())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foldbook"


def _read(path: Path) -> _Kept | None:
    """What was kept, unless somebody else could have written it."""
    try:
        for place in (path.parent, path):
            facts = place.lstat()
            if stat.S_ISLNK(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
                return None
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return None


def _write(path: Path, kept: _Kept) -> None:
    """Keep it, if the cache can be written; it costs seconds to make again, and nothing else."""
    kept = _Kept(kept.entries, dict(islice(reversed(kept.rewritten.items()), _REWRITTEN_MAX)))
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, new = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(kept))
        Path(new).replace(path)
        older = sorted(path.parent.glob("reference-*.json"), key=lambda other: other.stat().st_mtime, reverse=True)
        for other in older[_KEPT_MAX:]:
            other.unlink(missing_ok=True)
