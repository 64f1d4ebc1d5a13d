"""The ``orders`` projection as one would write it in Python: one statement per event.

The comparison is fair: psycopg with prepared statements and binary results, pages of events by position from the same
view, one transaction per page with its checkpoint, the same table with the same indexes, and all arithmetic in SQL, so
that no row is read back.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from bench.clock import Stopwatch
from bench.table import Slice

PAGE = 1_000

_PAGE = """
select position, type, aggregate_id, subject, sequence, occurred_at, payload
from eventstore.log
where shard = 0 and position > %s and position <= %s
order by position
limit %s
"""
_CREATED = """
insert into row_by_row.orders (
    shard, account, order_id, strategy_id, symbol, side, order_type, time_in_force, expire_at, post_only, reduce_only,
    quantity, limit_price, stop_price, working_state, is_open, pending_request, cum_qty, cum_cost, leaves_qty,
    leaves_cash, overfill_qty, fees, created_at, updated_at, created_position, last_position, sequence
)
values (
    0, %(account)s, %(order_id)s, %(strategy_id)s, %(symbol)s, %(side)s, %(order_type)s, %(time_in_force)s,
    %(expire_at)s, %(post_only)s, %(reduce_only)s, %(quantity)s, %(limit_price)s, %(stop_price)s, 'CREATED', true,
    'NONE', 0, 0, %(quantity)s, 0, 0, '{}', %(occurred_at)s, %(occurred_at)s, %(position)s, %(position)s, %(sequence)s
)
"""
_UPDATED = """
update row_by_row.orders
set quantity = %(quantity)s, limit_price = %(limit_price)s, stop_price = %(stop_price)s,
    working_state = %(working_state)s, is_open = %(leaves_qty)s::numeric > 0, pending_request = %(pending_request)s,
    requested_quantity = %(requested_quantity)s, requested_limit_price = %(requested_limit_price)s,
    requested_stop_price = %(requested_stop_price)s, cum_qty = %(cum_qty)s, cum_cost = %(cum_cost)s,
    leaves_qty = %(leaves_qty)s, overfill_qty = %(overfill_qty)s, fees = %(fees)s,
    broker_order_id = %(broker_order_id)s, reason = %(reason)s, updated_at = %(occurred_at)s,
    last_position = %(position)s, sequence = %(sequence)s
where account = %(account)s and order_id = %(order_id)s
"""
_ABSENT: dict[str, Any] = {
    "expire_at": None, "post_only": False, "reduce_only": False, "limit_price": None, "stop_price": None,
    "working_state": "CREATED", "pending_request": "NONE", "requested_quantity": None, "requested_limit_price": None,
    "requested_stop_price": None, "cum_qty": "0", "cum_cost": "0", "leaves_qty": "0", "overfill_qty": "0", "fees": {},
    "broker_order_id": None, "reason": None,
}  # fmt: skip
"""The values of members that a payload omits."""

_CHECKPOINT = "update row_by_row.checkpoint set position = %s"

_DIFFERENT = """
select count(*)
from row_by_row.orders mine
join read.orders its using (account, order_id)
where its.last_position <= %s and mine is distinct from its
"""


def project_row_by_row(dsn: str, first: int, events: int) -> Slice:
    """Project so many events after position ``first``, before which there was no order, into an empty table.

    Raises if the result differs from ``read.orders``.
    """
    with psycopg.connect(dsn) as connection:
        _make_tables(connection)
        stopwatch, position, done = Stopwatch(), first, 0
        while done < events:
            rows = _read(connection, position, first + events)
            for row in rows:
                _project(connection, row)
            position, done = rows[-1][0], done + len(rows)
            connection.execute(_CHECKPOINT, [position], prepare=True)
            connection.commit()
        measured = stopwatch.slice(done)
        different = connection.execute(_DIFFERENT, [position]).fetchone()
        if different != (0,):
            raise RuntimeError(f"{different} orders differ from what the projection made of them")
        return measured


def _make_tables(connection: Connection[TupleRow]) -> None:
    connection.execute("drop schema if exists row_by_row cascade")
    connection.execute("create schema row_by_row")
    connection.execute("create table row_by_row.orders (like read.orders including all)")
    connection.execute("create table row_by_row.checkpoint as select 0::bigint as position")
    connection.commit()


def _read(connection: Connection[TupleRow], after: int, upto: int) -> list[TupleRow]:
    with connection.cursor(binary=True) as cursor:
        return cursor.execute(_PAGE, [after, upto, PAGE], prepare=True).fetchall()


def _project(connection: Connection[TupleRow], row: TupleRow) -> None:
    position, type_name, account, order_id, sequence, occurred_at, payload = row
    if order_id is None:
        return
    fields: dict[str, Any] = {
        **_ABSENT,
        **payload,
        "position": position,
        "account": account,
        "order_id": order_id,
        "sequence": sequence,
        "occurred_at": occurred_at,
    }
    fields["fees"] = Jsonb(fields["fees"])
    connection.execute(_CREATED if type_name == "OrderCreated" else _UPDATED, fields, prepare=True)
