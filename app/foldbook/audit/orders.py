"""Does each order's last event carry the state that follows from the order's facts? SQL folds and compares."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from foldbook.audit.verify import RANGE_TIMEOUT_S, checkpoints
from foldbook.postgres.connection import connect

DIFFERENCES_MAX = 100
"""Reported for each shard; there may be more."""

_DIFFERENCES = "select * from audit.order_state_differences($1) limit $2"


class OrderDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The fields in which two states of one order differ: ``carried`` by its last event, ``folded`` from its facts."""

    shard: int
    position: int
    """Of the order's last event."""
    account: str
    order_id: str
    carried: dict[str, Any]
    folded: dict[str, Any]


async def order_differences(dsn: str) -> list[OrderDifference]:
    """The orders that differ, at most ``DIFFERENCES_MAX`` per shard; writers go on meanwhile.

    Raises :class:`AuditError` for a database without a log of this program's version.
    """
    connection = await connect(dsn)
    try:
        return [
            _difference(head.shard, row)
            for head in await checkpoints(connection)
            for row in await connection.fetch(_DIFFERENCES, head.shard, DIFFERENCES_MAX, timeout=RANGE_TIMEOUT_S)
        ]
    finally:
        await connection.close()


def _difference(shard: int, row: asyncpg.Record) -> OrderDifference:
    carried, folded = (msgspec.json.decode(row[name]) for name in ("carried", "folded"))
    return OrderDifference(
        shard=shard,
        position=row["position"],
        account=row["account"],
        order_id=row["order_id"],
        carried=carried,
        folded=folded,
    )
