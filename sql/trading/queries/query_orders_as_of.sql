create or replace function trading.query_orders_as_of(
    p_shard integer,
    p_account text,
    p_log_position bigint,
    p_statuses text[],
    p_symbol text,
    p_strategy_id text,
    p_after bigint,
    p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
-- An index finds the events of the account, and their positions find those that say what its orders are.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for, to see whether there is a next page.
        select
            o.*,
            o.created_log_position as created_position,
            o.last_log_position as last_position
        from audit.orders_as_of(p_shard, p_log_position, p_account) o
        where o.created_log_position > p_after
            and (
                p_statuses is null
                or o.is_open and 'open' = any (p_statuses)
                or o.status = any (p_statuses)
            )
            and (p_symbol is null or o.symbol = p_symbol)
            and (p_strategy_id is null or o.strategy_id = p_strategy_id)
        order by o.created_log_position
        limit p_limit + 1
    )
    select
        p_log_position,
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
comment on function trading.query_orders_as_of is
    'The same page as query_orders after the events up to a position of the log, read from the log itself. The document is null if the account is unknown.';
