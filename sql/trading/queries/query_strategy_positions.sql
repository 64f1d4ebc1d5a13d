create or replace function trading.query_strategy_positions(
    p_shard integer, p_account text, p_after_strategy_id text, p_after_symbol text, p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
-- Rows are read in the order of the key, until the page is full.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for, to see whether there is a next page.
        select
            p.*,
            l.price as last_price
        from read.strategy_positions p
        left join read.prices l on l.account = p.account and l.symbol = p.symbol
        where p.account = p_account
            and (p.strategy_id, p.symbol) > (p_after_strategy_id, p_after_symbol)
        order by p.strategy_id, p.symbol
        limit p_limit + 1
    )
    select
        -- The last price is another projection's.
        least(eventstore.checkpoint(p_shard, 'strategy_positions'), eventstore.checkpoint(p_shard, 'settings')),
        case
            when trading.is_account_known(p_shard, p_account)
                then eventstore.page(
                    'positions',
                    array_agg(trading.strategy_position_json(c, c.last_price) order by c.strategy_id, c.symbol),
                    array_agg(c.strategy_id || '/' || c.symbol order by c.strategy_id, c.symbol),
                    p_limit
                )
        end
    from candidate c;
end
$$;
comment on function trading.query_strategy_positions is
    'A page of the positions of an account by strategy and symbol; next is strategy/symbol, with an empty strategy for what none ordered. The document is null if the account is unknown.';
