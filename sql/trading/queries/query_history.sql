create or replace function trading.query_history(
    p_shard integer,
    p_account text,
    p_order_id text,
    p_after bigint,
    p_limit integer
)
returns table (is_account_known boolean, "position" bigint, document json)
language plpgsql
stable
as $$
begin
    return query
    select
        trading.is_account_known(p_shard, p_account),
        (eventstore.head(p_shard)).last_position,
        case
            when exists (
                select
                from trading.log l
                where l.shard = p_shard
                    and l.subject = p_order_id
                    and l.aggregate_id = p_account
            )
                then eventstore.page(
                    'events',
                    array_agg(eventstore.event_json(l) order by l.position),
                    array_agg(l.position order by l.position),
                    p_limit
                )
        end
    -- One more than asked for, to see whether there is a next page.
    from eventstore.read_log(p_shard, p_after, p_limit + 1, null, 'order_book', p_account, p_order_id) l;
end
$$;
comment on function trading.query_history is
    'A page of the events of one order, read from the log itself; next is a position. The document is null if the log has no such order.';
