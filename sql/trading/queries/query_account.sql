create or replace function trading.query_account(p_shard integer, p_account text)
returns table ("position" bigint, document json)
language plpgsql
stable
as $$
begin
    return query
    select
        eventstore.checkpoint(p_shard, 'orders'),
        (
            select json_build_object(
                'account', b.account,
                'user', b.user_name,
                'exchange', b.exchange,
                'broker', b.broker,
                'opened_at', eventstore.rfc3339(b.opened_at),
                'open_orders', (select count(*) from read.orders o where o.account = b.account and o.is_open),
                'last_position', b.last_position,
                'sequence', b.sequence
            )
            from read.order_books b
            where b.account = p_account
        );
end
$$;
comment on function trading.query_account is 'One account; the document is null while the read table does not have it.';
