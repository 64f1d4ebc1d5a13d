-- The read table says which accounts there were at its checkpoint; the log says which were opened since. A gateway must know
-- all of them before it asks for fills: what it hears of an account that it does not know is gone.
create or replace function brokers.known_accounts(p_broker text)
returns table (shard integer, checkpoint bigint, accounts text[], opened_at timestamptz[])
language plpgsql
stable
as $$
begin
    return query
    select
        s.shard,
        s.checkpoint,
        k.accounts,
        k.opened_at
    from eventstore.subscriptions s
    cross join lateral (
        select
            coalesce(array_agg(a.account order by a.account), '{}') as accounts,
            coalesce(array_agg(a.opened_at order by a.account), '{}') as opened_at
        from (
            select b.account, b.opened_at
            from read.order_books b
            where b.shard = s.shard
                and b.broker = p_broker
            union all
            select l.aggregate_id, l.occurred_at
            from eventstore.log l
            where l.shard = s.shard
                and l.position > s.checkpoint
                and l.aggregate_type = 'order_book'
                and l.type = 'OrderBookCreated'
                and split_part(l.aggregate_id, '/', 3) = p_broker
        ) a
    ) k
    where s.name = eventstore.projection_subscription('live', 'orders')
    order by s.shard;
end
$$;
comment on function brokers.known_accounts is
    'The accounts of one kind of broker, by shard, when each was opened, and the checkpoint of the orders read table.';
