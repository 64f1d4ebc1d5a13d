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
    shard, account, order_id, strategy_id, symbol, side, order_type, time_in_force, expire_at, quantity, limit_price,
    stop_price, stage, is_suspended, is_done_for_day, working_state, is_open, pending_request, cum_qty, cum_cost,
    leaves_qty, overfill_qty, fees, created_at, updated_at, created_position, last_position, sequence
)
values (
    0, %(account)s, %(order_id)s, %(strategy_id)s, %(symbol)s, %(side)s, %(order_type)s, %(time_in_force)s,
    %(expire_at)s, %(quantity)s, %(limit_price)s, %(stop_price)s, 'CREATED', false, false, 'CREATED', true, 'NONE', 0,
    0, %(quantity)s, 0, '{}',
    %(occurred_at)s, %(occurred_at)s, %(position)s, %(position)s, %(sequence)s
)
"""
_ACCEPTED = """
update row_by_row.orders
set stage = 'NEW',
    working_state = 'NEW', broker_order_id = %(broker_order_id)s,
    updated_at = %(occurred_at)s, last_position = %(position)s, sequence = %(sequence)s
where account = %(account)s and order_id = %(order_id)s
"""
_FILLED = """
update row_by_row.orders
set stage = 'NEW',
    cum_qty = cum_qty + %(last_qty)s::numeric,
    cum_cost = cum_cost + %(last_qty)s::numeric * %(last_px)s::numeric,
    leaves_qty = greatest(quantity - cum_qty - %(last_qty)s::numeric, 0),
    overfill_qty = greatest(cum_qty + %(last_qty)s::numeric - quantity, 0),
    working_state = case
        when cum_qty + %(last_qty)s::numeric >= quantity then 'FILLED'
        else 'PARTIALLY_FILLED'
    end,
    is_open = cum_qty + %(last_qty)s::numeric < quantity,
    fees = fees || jsonb_build_object(
        %(fee_currency)s::text,
        trim_scale(coalesce((fees ->> %(fee_currency)s::text)::numeric, 0) + %(fee)s::numeric)::text
    ),
    updated_at = %(occurred_at)s, last_position = %(position)s, sequence = %(sequence)s
where account = %(account)s and order_id = %(order_id)s
"""
_CANCEL_REQUESTED = """
update row_by_row.orders
set pending_request = 'CANCEL',
    updated_at = %(occurred_at)s, last_position = %(position)s, sequence = %(sequence)s
where account = %(account)s and order_id = %(order_id)s
"""
_CANCELED = """
update row_by_row.orders
set working_state = 'CANCELED',
    final_state = 'CANCELED', reason = %(reason)s, is_open = false, pending_request = 'NONE', leaves_qty = 0,
    updated_at = %(occurred_at)s, last_position = %(position)s, sequence = %(sequence)s
where account = %(account)s and order_id = %(order_id)s
"""
_REJECTED = """
update row_by_row.orders
set working_state = 'REJECTED',
    final_state = 'REJECTED', reason = %(reason)s, is_open = false, leaves_qty = 0,
    updated_at = %(occurred_at)s, last_position = %(position)s, sequence = %(sequence)s
where account = %(account)s and order_id = %(order_id)s
"""
_STATEMENTS = {
    "OrderCreated": _CREATED,
    "OrderAccepted": _ACCEPTED,
    "OrderFilled": _FILLED,
    "OrderCancelRequested": _CANCEL_REQUESTED,
    "OrderCanceled": _CANCELED,
    "OrderRejected": _REJECTED,
}
_OPTIONAL = {"expire_at": None, "limit_price": None, "stop_price": None, "broker_order_id": None, "reason": None}

_CHECKPOINT = "update row_by_row.checkpoint set position = %s"

_DIFFERENT = """
select count(*)
from row_by_row.orders mine
join read.orders its using (account, order_id)
where its.last_position <= %s and mine is distinct from its
"""


def project_row_by_row(dsn: str, first: int, events: int) -> Slice:
    """Project so many events after position ``first``, before which there was no order, into an empty table.

    Raises if what it made is not what ``read.orders`` has.
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
    statement = _STATEMENTS.get(type_name)
    if statement is None:
        return
    fields: dict[str, Any] = {
        **_OPTIONAL,
        **payload,
        "position": position,
        "account": account,
        "order_id": order_id,
        "sequence": sequence,
        "occurred_at": occurred_at,
    }
    connection.execute(statement, fields, prepare=True)
