"""Reads files that anybody may have made. Memory is bounded, and whatever is wrong with one is an ``AuditError`` that
names the file and, in a file of lines, the line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from foldbook.audit.report import AuditError
from foldbook.eventstore.strict_json import refuse_repeated_keys

FILE_BYTES_MAX = 1 << 20
"""Of a file that is read whole: the heads of 1024 shards take a quarter of it."""
LINE_BYTES_MAX = 16 << 20
"""Of a line. A row of a log has less: what a request can bring, and what is said about it."""

T = TypeVar("T")


@contextmanager
def named(path: Path, missing: str | None = None) -> Iterator[None]:
    """What the system says of the file, as an ``AuditError``. ``missing``: what to say if there is none."""
    try:
        yield
    except FileNotFoundError as error:
        raise AuditError(missing or f"{path} is missing") from error
    except OSError as error:
        raise AuditError(f"{path} cannot be read: {error.strerror or error}") from error


def read_whole(path: Path, missing: str | None = None) -> bytes:
    """A small file. Raises ``AuditError``."""
    with named(path, missing), path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise AuditError(f"{path} has more than {FILE_BYTES_MAX} bytes: it is another kind of file")
    return content


def read_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each line, with a name for it. Raises ``AuditError``."""
    with named(path), path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES_MAX + 1):
            number += 1
            if len(line) > LINE_BYTES_MAX:
                raise AuditError(f"{path}, line {number} has more than {LINE_BYTES_MAX} bytes")
            yield f"{path}, line {number}", line


def decode(decoder: msgspec.json.Decoder[T], text: bytes, where: str, encode: Callable[[T], bytes]) -> T:
    """What ``encode`` wrote, or the same JSON written in another way, but for a key that occurs twice: another program
    may read the first. Raises ``AuditError``."""
    try:
        value = decoder.decode(text)
        if encode(value) != text:
            refuse_repeated_keys(text)
    except RecursionError as error:
        raise AuditError(f"{where}: it is nested too deeply") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise AuditError(f"{where}: {error}") from error
    return value
