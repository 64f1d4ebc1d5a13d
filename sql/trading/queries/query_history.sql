create or replace function trading.query_history(
    p_shard integer,
    p_account text,
    p_order_id text,
    p_after bigint,
    p_limit integer
)
returns table (is_account_known boolean, is_order_known boolean, "position" bigint, items json, next bigint)
language plpgsql
stable
as $$
begin
    return query
    select
        trading.is_account_known(p_shard, p_account),
        exists (
            select from eventstore.log l
            where l.shard = p_shard and l.subject = p_order_id and l.aggregate_id = p_account
        ),
        e.position,
        e.items,
        e.next
    from eventstore.query_events(p_shard, p_after, p_limit, null, p_account, p_order_id) e;
end
$$;
comment on function trading.query_history is
    'A page of the events of one order, read from the log itself; next as in query_events.';
