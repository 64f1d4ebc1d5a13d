"""Keys from the command line, and the first one, which ``foldbook up`` makes: through a bus of this process's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from uuid_utils.compat import uuid7

from foldbook.access.access import ACCESS, Keys
from foldbook.access.commands import AGGREGATE_ID
from foldbook.access.keys import digest_of
from foldbook.access.roles import Role
from foldbook.api.operations.keys import Issued, KeyAdmin, KeyPage, KeyRow, NewKey
from foldbook.config import Settings, key_in_file
from foldbook.errors import FoldbookError, Refusal
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.events import Metadata
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.replay import replay
from foldbook.eventstore.store import shard_of
from foldbook.postgres.calls import call
from foldbook.postgres.connection import connect
from foldbook.postgres.data_folder import make_data_folder, write_private

PAGE = 1_000
NAMES_MAX = 100
IN_FORCE = "in force"

_QUERY_KEYS = call("access.query_keys", 3)


@asynccontextmanager
async def key_admin(settings: Settings) -> AsyncIterator[KeyAdmin]:
    """Issues and revokes keys, as the command line's user, who may write the database anyway."""
    store = PostgresStore(settings.dsn)
    bus = CommandBus(store, ACCESS, shard_count=settings.shards)
    await bus.start()
    try:
        yield KeyAdmin(bus, None)
    finally:
        await bus.stop()
        await store.close()


async def all_keys(settings: Settings) -> list[KeyRow]:
    """Every key that was ever issued."""
    connection = await connect(settings.dsn)
    try:
        found: list[KeyRow] = []
        after: int | None = 0
        while after is not None:
            row: Any = await connection.fetchrow(_QUERY_KEYS, shard_of(AGGREGATE_ID, settings.shards), after, PAGE)
            page = msgspec.json.decode(row["document"], type=KeyPage)
            found += page.keys
            after = page.next
    finally:
        await connection.close()
    return found


async def ensure_operator_key(settings: Settings) -> bool:
    """An operator's key that is in force is in the data folder afterwards. True: it was made now."""
    if (shown := key_in_file(settings)) is not None:
        digest, now = digest_of(shown), datetime.now(UTC)
        found = [key for key in (await _keys(settings)).live.values() if key.digest == digest]
        if any(Role.OPERATOR in key.roles and not key.is_expired(now) for key in found):
            return False
    async with key_admin(settings) as admin:
        issued = await _first_free(admin, "operator")
    assert issued.key is not None, "the command was not sent before"
    make_data_folder(settings.data_dir)
    write_private(settings.key_file, issued.key + "\n")
    return True


async def _first_free(admin: KeyAdmin, name: str) -> Issued:
    """A key of an operator; a key whose file was lost keeps its name until it is revoked."""
    for number in range(1, NAMES_MAX + 1):
        new = NewKey(name=name if number == 1 else f"{name}-{number}", roles=[Role.OPERATOR])
        try:
            return await admin.issue(new, uuid7(), Metadata(actor="foldbook up"))
        except Refusal as refusal:
            if refusal.code != "key-name-taken":
                raise
    raise FoldbookError(f"{NAMES_MAX} keys named {name} are in force: revoke some with `foldbook keys revoke`")


async def _keys(settings: Settings) -> Keys:
    store = PostgresStore(settings.dsn, reads_only=True)
    try:
        return (await replay(store, ACCESS, shard_of(AGGREGATE_ID, settings.shards), AGGREGATE_ID)).state
    finally:
        await store.close()


def describe(key: KeyRow) -> str:
    """Whether the key is in force, and why not."""
    if key.revoked_at is not None:
        return "revoked" if key.reason is None else f"revoked: {key.reason}"
    return "expired" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else IN_FORCE
