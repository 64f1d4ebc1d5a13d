create or replace function trading.query_orders(
    p_shard integer,
    p_account text,
    p_statuses text[],
    p_symbol text,
    p_strategy_id text,
    p_after bigint,
    p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
-- An absent filter vanishes from a custom plan, so that the remaining ones find their index.
set plan_cache_mode = force_custom_plan
-- Rows are read in the order of an index, until the page is full.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    -- The statuses that only an open order can have. A request may be pending on a filled order, too.
    v_is_open_only boolean := coalesce(p_statuses <@ '{open,CREATED,PENDING_NEW,NEW,PARTIALLY_FILLED,SUSPENDED}', false);
begin
    return query
    with candidate as materialized (
        -- One more than asked for, to see whether there is a next page.
        select o.*
        from read.orders o
        where o.account = p_account
            and o.created_position > p_after
            and (not v_is_open_only or o.is_open)
            and (
                p_statuses is null
                or o.is_open and 'open' = any (p_statuses)
                or trading.order_status(o.working_state, o.pending_request) = any (p_statuses)
            )
            and (p_symbol is null or o.symbol = p_symbol)
            and (p_strategy_id is null or o.strategy_id = p_strategy_id)
        order by o.created_position
        limit p_limit + 1
    )
    select
        eventstore.checkpoint(p_shard, 'orders'),
        case
            when trading.is_account_known(p_shard, p_account)
                then eventstore.page(
                    'orders',
                    array_agg(trading.order_json(c) order by c.created_position),
                    array_agg(c.created_position order by c.created_position),
                    p_limit
                )
        end
    from candidate c;
end
$$;
comment on function trading.query_orders is
    'A page of the orders of an account, in the order of their creation; next is a position of creation. The document is null if the account is unknown.';
