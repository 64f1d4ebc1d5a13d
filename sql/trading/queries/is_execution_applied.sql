create or replace function trading.is_execution_applied(
    p_shard integer, p_account text, p_order_id text, p_exec_id text, p_after bigint
)
returns boolean
language sql
stable parallel safe
begin atomic
    select exists (
        select from trading.log l
        where l.shard = p_shard
            and l.subject = p_order_id
            and l.aggregate_id = p_account
            and l.position > p_after
            and l.type in ('FillBusted', 'FillCorrected')
            and l.payload ->> 'exec_id' = p_exec_id
    );
end;
comment on function trading.is_execution_applied is
    'Whether a bust or a correction that arrived before its fill was applied after position p_after, when the fill arrived.';
