create or replace function trading.query_order(p_shard integer, p_account text, p_order_id text)
returns table (is_account_known boolean, "position" bigint, document json)
language plpgsql
stable
as $$
begin
    return query
    select
        trading.is_account_known(p_shard, p_account),
        eventstore.checkpoint(p_shard, 'orders'),
        (
            select trading.order_json(o)
            from read.orders o
            where o.account = p_account and o.order_id = p_order_id
        );
end
$$;
comment on function trading.query_order is 'One order; the document is null while the read table does not have it.';
