-- The read table says which accounts there were at its checkpoint; the log says which were opened since.
create or replace function brokers.known_accounts(p_broker text)
returns table (shard integer, checkpoint bigint, accounts text[])
language plpgsql
stable
as $$
begin
    return query
    select
        s.shard,
        s.checkpoint,
        coalesce(
            (
                select array_agg(b.account order by b.account)
                from read.order_books b
                where b.shard = s.shard
                    and b.broker = p_broker
            ),
            '{}'
        )
    from eventstore.subscriptions s
    where s.name = eventstore.projection_subscription('live', 'orders')
    order by s.shard;
end
$$;
comment on function brokers.known_accounts is
    'The accounts of one kind of broker, by shard, as of the checkpoint of the orders read table.';
