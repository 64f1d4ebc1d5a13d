"""Anchors: signed checkpoints, to be kept where nobody who can change the log can change them.

Somebody who can write to the database can rewrite the log and every hash in it. Only a record kept elsewhere shows
that: an anchor says what the hash was, when, and who signed it. An anchor file is NDJSON, one anchor per line; new
anchors are appended.

The signature (Ed25519, RFC 8032) is over the text that :func:`_signed_text` makes. A key's id is the first 16
hexadecimal digits of the SHA-256 of its 32 public bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from foldbook.audit.reading import decode, read_lines, read_whole
from foldbook.audit.report import AuditError, Checkpoint
from foldbook.postgres.data_folder import open_own

FORMAT = "foldbook-anchor-1"
ANCHORS_MAX = 100_000
"""Of one file: one an hour for eleven years."""
NO_KEY = (ValueError, TypeError, UnsupportedAlgorithm)
"""What a file that is not a key in the open, or of a kind that is not known, makes of its reader."""


class Anchor(Checkpoint, frozen=True, kw_only=True):
    """A checkpoint, the time, and a signature. ``time`` is by the signer's clock."""

    format: str
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    key_id: str
    signature: str


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> Anchor:
    """Anchor a checkpoint now."""
    unsigned = Anchor(
        **msgspec.structs.asdict(checkpoint),
        format=FORMAT,
        time=datetime.now(UTC),
        key_id=key_id(key.public_key()),
        signature="",
    )
    return msgspec.structs.replace(unsigned, signature=key.sign(_signed_text(unsigned)).hex())


def encode(anchors: Iterable[Anchor]) -> bytes:
    """As lines of an anchor file."""
    return msgspec.json.Encoder().encode_lines(anchors)


def read_anchors(path: Path, key: Ed25519PublicKey) -> list[Anchor]:
    """The anchors of a file, every signature verified. Raises :class:`AuditError`."""
    anchors: dict[Anchor, None] = {}
    decoder = msgspec.json.Decoder(Anchor)
    for where, line in read_lines(path):
        anchor = decode(decoder, line, f"{where} is not an anchor", lambda anchor: msgspec.json.encode(anchor) + b"\n")
        if anchor.format != FORMAT:
            raise AuditError(f"{where}: the format is {anchor.format!r}, but this program reads {FORMAT!r}")
        if anchor.key_id != key_id(key):
            raise AuditError(f"{where} is signed with key {anchor.key_id!r}, but the given key is {key_id(key)}")
        try:
            key.verify(bytes.fromhex(anchor.signature), _signed_text(anchor))
        except (InvalidSignature, ValueError, OverflowError) as error:
            raise AuditError(f"{where}: the signature is wrong, so the anchor was changed") from error
        anchors[anchor] = None
        if len(anchors) > ANCHORS_MAX:
            raise AuditError(f"{path} has more than {ANCHORS_MAX} anchors: verify with a part of them at a time")
    if not anchors:
        raise AuditError(f"{path} contains no anchors")
    return list(anchors)


def key_id(key: Ed25519PublicKey) -> str:
    return sha256(key.public_bytes_raw()).hexdigest()[:16]


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The key in a file. It is created on first use, readable by its owner only (0600), with its public half in
    ``<path>.pub``.

    Raises :class:`AuditError` for a file that is not an Ed25519 key or that others may read.
    """
    if not path.exists():
        _make_key(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise AuditError(f"{path} can be read by others: run chmod 600 {path}, or remove it to start with a new key")
    try:
        key = load_pem_private_key(read_whole(path), password=None)
    except NO_KEY as error:
        raise AuditError(f"{path} does not contain a key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditError(f"{path} contains a key, but not an Ed25519 key")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """The public key in a file. Raises :class:`AuditError`."""
    try:
        missing = f"{path} is missing: give the public key that belongs to the anchors' signatures"
        key = load_pem_public_key(read_whole(path, missing))
    except NO_KEY as error:
        raise AuditError(f"{path} does not contain a public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise AuditError(f"{path} contains a public key, but not an Ed25519 key")
    return key


def public_key_path(path: Path) -> Path:
    """The path of a signing key's public half."""
    return path.with_name(f"{path.name}.pub")


def _make_key(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    new = path.with_name(f"{path.name}.new-{os.getpid()}")
    with open_own(new, "xb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)  # fails if another process was first; then its key is used
    except FileExistsError:
        return
    finally:
        new.unlink()
    with open_own(public_key_path(path), "wb") as file:
        file.write(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _signed_text(anchor: Anchor) -> bytes:
    time = anchor.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    fields = (
        anchor.format,
        anchor.log_id,
        anchor.shard,
        anchor.commits,
        anchor.events,
        anchor.hash,
        time,
        anchor.key_id,
    )
    return "".join(f"{field}\n" for field in fields).encode()
