"""The files of an export.

::

    <folder>/
        manifest.json       written last: the contents, and the heads of the shards when the export began
        commits-0.ndjson    or .parquet; for each shard, ordered by number
        commands-0.ndjson   ordered by commit, then by command id and hash
        events-0.ndjson     ordered by position

Payload, metadata and reason are nested JSON in NDJSON, and strings in Parquet. Times are UTC. Only the user who made
the export may read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints
from uuid import UUID

import msgspec

from foldbook.audit.reading import decode, named, read_lines, read_whole
from foldbook.audit.report import AuditError, Checkpoint
from foldbook.audit.rows import CommandRow, CommitRow, EventRow, Row
from foldbook.postgres.data_folder import open_own

FORMAT = "foldbook-export-2"
MANIFEST = "manifest.json"
ROWS_PER_BATCH = 10_000

AnyRow = TypeVar("AnyRow", CommitRow, CommandRow, EventRow)
FILE_NAMES: dict[type[Row], str] = {CommitRow: "commits", CommandRow: "commands", EventRow: "events"}


class Format(StrEnum):
    """How the rows are written."""

    NDJSON = "ndjson"
    PARQUET = "parquet"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``shards``: the head of each shard when the export began, which is where the export ends."""

    format: str
    rows: Format
    exported_at: datetime
    shards: Sequence[Checkpoint]


_MANIFEST = msgspec.json.Decoder(Manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, without which a folder of files is not an export."""
    with open_own(folder / MANIFEST, "xb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Raises :class:`AuditError` for a folder that is not a complete export."""
    path = folder / MANIFEST
    content = read_whole(path, f"{folder} has no {MANIFEST}: it is not an export, or not a complete one")
    manifest = decode(_MANIFEST, content, str(path), msgspec.json.encode)
    if manifest.format != FORMAT:
        raise AuditError(f"{folder / MANIFEST}: format is {manifest.format!r}, but this program reads {FORMAT!r}")
    shards = [head.shard for head in manifest.shards]
    if not shards or shards != list(range(len(shards))) or len({head.log_id for head in manifest.shards}) != 1:
        raise AuditError(f"{folder / MANIFEST}: its shards are not those of one log, from 0 on")
    return manifest


def write_rows(folder: Path, rows: Format, row_type: type[Row], shard: int) -> Writer:
    """A writer for the file of one table and shard; a context manager."""
    path = _path(folder, rows, row_type, shard)
    return NdjsonWriter(path) if rows is Format.NDJSON else ParquetWriter(path, row_type)


def read_rows(folder: Path, rows: Format, row_type: type[AnyRow], shard: int) -> Iterator[AnyRow]:
    """The rows of the file of one table and shard, in its order. Raises :class:`AuditError` for anything else."""
    path = _path(folder, rows, row_type, shard)
    for row in _read_ndjson(path, row_type) if rows is Format.NDJSON else _read_parquet(path, row_type):
        if row.shard != shard:
            raise AuditError(f"{path} has a row of shard {row.shard}")
        yield row


class Writer(AbstractContextManager["Writer"]):
    """Writes rows of one type to a file, which is complete at the end of the ``with`` block."""

    def write(self, rows: Sequence[Row]) -> None:
        raise NotImplementedError


class NdjsonWriter(Writer):
    def __init__(self, path: Path) -> None:
        self._file = open_own(path, "xb")
        self._encoder = msgspec.json.Encoder()

    def write(self, rows: Sequence[Row]) -> None:
        self._file.write(self._encoder.encode_lines(rows))

    def __exit__(self, *_: object) -> None:
        self._file.close()


class ParquetWriter(Writer):
    def __init__(self, path: Path, row_type: type[Row]) -> None:
        arrow, parquet = _arrow()
        self._schema = _parquet_schema(arrow, row_type)
        self._arrow = arrow
        self._file = open_own(path, "xb")
        self._writer = parquet.ParquetWriter(self._file, self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        columns = {name: [_plain(getattr(row, name)) for row in rows] for name in self._schema.names}
        self._writer.write_table(self._arrow.table(columns, schema=self._schema))

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._file.close()


def _read_ndjson(path: Path, row_type: type[AnyRow]) -> Iterator[AnyRow]:
    decoder, encoder = msgspec.json.Decoder(row_type), msgspec.json.Encoder()
    for where, line in read_lines(path):
        yield decode(decoder, line, where, lambda row: encoder.encode(row) + b"\n")


def _read_parquet(path: Path, row_type: type[AnyRow]) -> Iterator[AnyRow]:
    arrow, parquet = _arrow()
    names = row_type.__struct_fields__
    hints = get_type_hints(row_type)
    readers = [_FROM_PARQUET.get(_type_of(hints[name])) for name in names]
    expected = _parquet_schema(arrow, row_type)
    try:
        with named(path), parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(expected):
                raise AuditError(f"{path}: its columns are not those of {FILE_NAMES[row_type]}")
            for batch in file.iter_batches(ROWS_PER_BATCH, columns=list(names)):
                columns = []
                for name, read in zip(names, readers, strict=True):
                    column = batch.column(name)
                    if column.null_count and type(None) not in get_args(hints[name]):
                        raise AuditError(f"{path}: {name} is null")
                    if arrow.types.is_timestamp(column.type):
                        column = column.cast(arrow.int64())
                    values = column.to_pylist()
                    columns.append([None if v is None else read(v) for v in values] if read else values)
                for row in zip(*columns, strict=True):
                    yield row_type(*row)
    except (arrow.ArrowException, KeyError, TypeError, ValueError, OverflowError) as error:
        raise AuditError(f"{path}: {error}") from error


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FROM_PARQUET: dict[Any, Callable[[Any], Any]] = {
    UUID: UUID,
    msgspec.Raw: lambda text: msgspec.Raw(text.encode()),
    # From microseconds: Arrow's own conversion to a datetime takes ten times as long.
    datetime: lambda microseconds: _EPOCH + timedelta(microseconds=microseconds),
}


def _parquet_schema(arrow: Any, row_type: type[Row]) -> Any:
    types = {
        int: arrow.int64(),
        str: arrow.string(),
        UUID: arrow.string(),
        datetime: arrow.timestamp("us", tz="UTC"),
        msgspec.Raw: arrow.string(),
    }
    hints = get_type_hints(row_type)
    return arrow.schema([(name, types[_type_of(hints[name])]) for name in row_type.__struct_fields__])


def _path(folder: Path, rows: Format, row_type: type[Row], shard: int) -> Path:
    return folder / f"{FILE_NAMES[row_type]}-{shard}.{rows.value}"


def _type_of(hint: Any) -> Any:
    """The type in ``X`` or ``X | None``."""
    return next((kind for kind in get_args(hint) if kind is not type(None)), hint)


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    return str(value) if isinstance(value, UUID) else value


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise AuditError("Parquet needs pyarrow: pip install 'foldbook[audit]'") from error
    return pa, parquet
