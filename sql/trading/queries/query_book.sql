create or replace function trading.query_book(p_shard integer, p_account text, p_after bigint, p_limit integer)
returns table ("position" bigint, document json)
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for, to see whether there is a next page.
        select o.*
        from read.orders o
        where o.account = p_account
            and o.created_position > p_after
            and o.is_open
        order by o.created_position
        limit p_limit + 1
    ),
    pending as (
        select
            array_agg(trading.order_json(c) order by c.created_position) as orders,
            array_agg(c.created_position order by c.created_position) as created_positions
        from candidate c
    )
    select
        a.position,
        case
            when a.document is not null
                then eventstore.page('pending_orders', p.orders, p.created_positions, p_limit, a.document)
        end
    from trading.query_account(p_shard, p_account) a
    cross join pending p;
end
$$;
comment on function trading.query_book is
    'One account with a page of its pending orders, in the order of their creation; next is a position of creation. The document is null while the read table does not have the account.';
