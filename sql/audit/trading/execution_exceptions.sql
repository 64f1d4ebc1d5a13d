create or replace view audit.execution_exceptions as
select
    e.shard,
    e.position as log_position,
    e.recorded_at,
    e.occurred_at,
    e.aggregate_id as account,
    e.payload ->> 'order_id' as order_id,
    e.type,
    p.problem,
    e.payload ->> 'exec_type' as exec_type,
    e.payload ->> 'kind' as kind,
    e.payload ->> 'symbol' as symbol,
    e.payload ->> 'side' as side,
    e.payload ->> 'exec_id' as exec_id,
    e.payload ->> 'exec_ref_id' as exec_ref_id,
    (e.payload ->> 'last_qty')::numeric as last_qty,
    (e.payload ->> 'last_px')::numeric as last_px,
    (e.payload ->> 'gross_amount')::numeric as gross_amount,
    (e.payload ->> 'fee')::numeric as fee,
    e.payload ->> 'fee_currency' as fee_currency,
    (e.payload ->> 'quantity')::numeric as quantity,
    (e.payload ->> 'limit_price')::numeric as limit_price,
    (e.payload ->> 'stop_price')::numeric as stop_price,
    e.payload ->> 'request_id' as request_id,
    e.payload ->> 'reason' as reason,
    e.payload ->> 'broker_order_id' as broker_order_id,
    (e.payload ->> 'transact_time')::timestamptz as transact_time,
    (e.payload ->> 'counted_at')::timestamptz as counted_at,
    trading.is_execution_applied(
        p.problem, e.shard, e.aggregate_id, e.subject, e.payload ->> 'exec_type', e.payload ->> 'exec_id',
        e.payload ->> 'broker_order_id', e.position
    ) as is_applied,
    e.command_id,
    e.metadata ->> 'actor' as actor,
    e.metadata ->> 'raw_message' as raw_message
from trading.log e
cross join lateral (
    select case
        when e.type = 'UnmatchedExecutionRecorded' then 'unmatched'
        when e.type = 'FillConflictDetected' then 'conflict'
        when e.payload ? 'transact_time' and e.payload ? 'counted_at' then 'time-ahead'
    end as problem
) p
where p.problem is not null;
comment on view audit.execution_exceptions is
    'Reports for a person to look at: what they refer to is unknown, they contradict an earlier report, or they told a time too far ahead of their receipt.';
comment on column audit.execution_exceptions.problem is 'unmatched, conflict or time-ahead.';
comment on column audit.execution_exceptions.is_applied is 'False for a conflict. True for a report whose time was wrong, which does not count as it was told; and for one that arrived before what it refers to and was applied, or recorded again, when that became known.';
comment on column audit.execution_exceptions.transact_time is 'Business time as it was told; null: it was not told.';
comment on column audit.execution_exceptions.counted_at is 'The time that decides instead; null: transact_time.';
comment on column audit.execution_exceptions.raw_message is 'What the broker sent, if it was handed in.';
