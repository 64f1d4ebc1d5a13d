create or replace function trading.query_book(p_shard integer, p_account text, p_after bigint, p_limit integer)
returns table ("position" bigint, body json, items json, next bigint)
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for tells whether there is more.
        select o.*
        from read.orders o
        where o.account = p_account and o.created_position > p_after and o.is_open
        order by o.created_position
        limit p_limit + 1
    ),
    numbered as (
        select c as entry, row_number() over (order by c.created_position) as ordinal
        from candidate c
    ),
    page as (
        select
            coalesce(
                json_agg(trading.order_json(n.entry) order by n.ordinal) filter (where n.ordinal <= p_limit),
                '[]'
            ) as items,
            case when count(*) > p_limit then max((n.entry).created_position) filter (where n.ordinal = p_limit) end as next
        from numbered n
    )
    select a.position, a.body, p.items, p.next
    from trading.query_account(p_shard, p_account) a
    cross join page p;
end
$$;
comment on function trading.query_book is
    'One account with a page of its pending orders, as they were created; next as in query_orders.';
