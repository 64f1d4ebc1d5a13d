"""Anchors: signed checkpoints, to be kept where nobody who can change the log can change them.

Whoever can write to the database can rewrite the log and every hash in it. Against that helps only what lies elsewhere:
an anchor says what the hash was, when, and who says so. An anchor file is NDJSON, one anchor a line; more are appended.

What is signed (Ed25519, RFC 8032) is the text that :func:`_signed_text` makes; a key's id is the first 16 hexadecimal
digits of the SHA-256 of its 32 public bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from foldbook.audit.report import AuditError, Checkpoint
from foldbook.postgres.data_folder import open_own

FORMAT = "foldbook-anchor-1"


class Anchor(Checkpoint, frozen=True, kw_only=True):
    """A checkpoint, when it was seen, and the signature of who saw it. ``time`` is the signer's clock."""

    format: str
    time: datetime
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
    anchors = []
    decoder = msgspec.json.Decoder(Anchor)
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            anchor = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise AuditError(f"{path}, line {number} is no anchor: {error}") from error
        if anchor.key_id != key_id(key):
            raise AuditError(
                f"{path}, line {number} is signed by key {anchor.key_id}, and the key here is {key_id(key)}"
            )
        try:
            key.verify(bytes.fromhex(anchor.signature), _signed_text(anchor))
        except (InvalidSignature, ValueError) as error:
            raise AuditError(f"{path}, line {number}: the signature is wrong, so the anchor was changed") from error
        anchors.append(anchor)
    if not anchors:
        raise AuditError(f"{path} holds no anchor")
    return anchors


def key_id(key: Ed25519PublicKey) -> str:
    return sha256(key.public_bytes_raw()).hexdigest()[:16]


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The key of a file, made on first use for its owner alone (0600), its public half beside it as ``<path>.pub``.

    Raises :class:`AuditError` for a file that is no Ed25519 key or that others may read.
    """
    if not path.exists():
        _make_key(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise AuditError(f"{path} may be read by others: chmod 600 {path}, or remove it and begin with a new key")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise AuditError(f"{path} holds no key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditError(f"{path} holds a key of another kind than Ed25519")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """The public key of a file. Raises :class:`AuditError`."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except FileNotFoundError:
        raise AuditError(f"{path} is missing: name the public key that the anchors are signed with") from None
    except ValueError as error:
        raise AuditError(f"{path} holds no public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise AuditError(f"{path} holds a key of another kind than Ed25519")
    return key


def public_key_path(path: Path) -> Path:
    """Where the public half of a signing key is."""
    return path.with_name(f"{path.name}.pub")


def _make_key(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    new = path.with_name(f"{path.name}.new-{os.getpid()}")
    with open_own(new, "xb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)  # fails if another process was first; then that key counts
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
