"""The journal: what the exchange was told, in order, as lines of a file.

A line is the CRC-32 of a message's JSON in eight hexadecimal digits, a space, and the JSON. A line that is not whole is
the last one: the process or the machine stopped while it was written, before anybody was told of it. It is cut off. A
broken line with others behind it is damage, and nothing is guessed from there on.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from foldbook.errors import FoldbookError
from foldbook.venue.messages import AnyMessage

logger = logging.getLogger(__name__)


class VenueDataError(FoldbookError, code="venue-data", title="The venue's data folder cannot be used"):
    """The files in the data folder are damaged, or of another program."""


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(AnyMessage)


def line_of(message: AnyMessage) -> bytes:
    content = _ENCODER.encode(message)
    return b"%08x %b\n" % (zlib.crc32(content), content)


class Journal:
    """A file that is only appended to."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. It must end with a whole line: ``replay`` sees to that."""
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        self.size_bytes = os.fstat(self._fd).st_size

    def write(self, lines: bytes) -> None:
        """Append the lines; when this returns, they are on disk. Raises ``OSError``."""
        view = memoryview(lines)
        while view:
            view = view[os.write(self._fd, view) :]
        os.fdatasync(self._fd)
        self.size_bytes += len(lines)

    def close(self) -> None:
        os.close(self._fd)


def replay(path: Path, *, is_last: bool = True) -> Iterator[AnyMessage]:
    """The messages of a journal. A torn last line is cut off the file, if it is the last journal that was written.
    Raises ``VenueDataError``."""
    place = 0
    with path.open("rb") as file:
        for line in file:
            message = _message(line)
            if message is None:
                break
            place += len(line)
            yield message
        else:
            return
        rest = file.read(1)
    if rest or not is_last:
        raise VenueDataError(f"{path}: the line at byte {place} is damaged, and there is more behind it")
    logger.warning("%s: the last line was not written as a whole, and is cut off at byte %d", path, place)
    with path.open("r+b") as file:
        file.truncate(place)
        os.fsync(file.fileno())


def _message(line: bytes) -> AnyMessage | None:
    """None: the line is not whole."""
    if not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    content = line[9:-1]
    if line[:8] != b"%08x" % zlib.crc32(content):
        return None
    try:
        message: AnyMessage = _DECODER.decode(content)
    except msgspec.MsgspecError as error:
        raise VenueDataError(f"a line of the journal cannot be read by this program: {error}") from None
    return message
