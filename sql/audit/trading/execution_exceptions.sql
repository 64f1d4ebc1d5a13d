create or replace view audit.execution_exceptions as
select
    e.shard,
    e.position as log_position,
    e.recorded_at,
    e.occurred_at,
    e.aggregate_id as account,
    e.subject as order_id,
    e.type,
    e.payload ->> 'exec_type' as exec_type,
    e.payload ->> 'exec_id' as exec_id,
    e.payload ->> 'exec_ref_id' as exec_ref_id,
    (e.payload ->> 'last_qty')::numeric as last_qty,
    (e.payload ->> 'last_px')::numeric as last_px,
    (e.payload ->> 'fee')::numeric as fee,
    e.payload ->> 'fee_currency' as fee_currency,
    e.payload ->> 'reason' as reason,
    e.payload ->> 'broker_order_id' as broker_order_id,
    trading.is_execution_applied(e.shard, e.aggregate_id, e.subject, e.payload ->> 'exec_id', e.position) as is_applied,
    e.command_id,
    e.metadata ->> 'actor' as actor,
    e.metadata ->> 'raw_message' as raw_message
from trading.log e
where e.type in ('UnmatchedExecutionRecorded', 'FillConflictDetected');
comment on view audit.execution_exceptions is
    'Executions that a broker reported but that were not applied: what they refer to is unknown, or they contradict an earlier report.';
comment on column audit.execution_exceptions.is_applied is 'True for a bust or correction that arrived before its fill and was applied when the fill arrived.';
comment on column audit.execution_exceptions.raw_message is 'What the broker sent, if it was handed in.';
