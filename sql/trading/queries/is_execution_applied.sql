-- What waits for an order or for an execution without one is applied, or recorded again, when that becomes known. What waits
-- for a fill is applied as an execution of the same id. What told the end of an unknown leg is applied when the order moves
-- to that leg.
create or replace function trading.is_execution_applied(
    p_problem text, p_shard integer, p_account text, p_subject text, p_exec_type text, p_exec_id text,
    p_broker_order_id text, p_after bigint
)
returns boolean
language sql
stable parallel safe
begin atomic
    select case p_problem
        when 'time-ahead' then true
        when 'conflict' then false
        else exists (
            select from trading.log l
            where l.shard = p_shard
                and l.subject = p_subject
                and l.aggregate_id = p_account
                and l.position > p_after
                and (
                    l.type in ('OrderCreated', 'ExecutionBooked')
                    or l.type <> 'FillConflictDetected' and l.payload ->> 'exec_id' = p_exec_id
                    or l.type = 'OrderReplaced'
                    and p_exec_type in ('CANCELED', 'EXPIRED', 'REJECTED')
                    and l.payload ->> 'broker_order_id' = p_broker_order_id
                )
        )
    end;
end;
comment on function trading.is_execution_applied is
    'Whether a report that told a problem at position p_after was applied: after it, if what it refers to was not known then; at once, if only its time was wrong; never, if it contradicts an earlier report.';
