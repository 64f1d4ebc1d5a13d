create or replace function trading.query_fills(
    p_shard integer,
    p_account text,
    p_strategy_id text,
    p_symbol text,
    p_accounts text[],
    p_after_shard integer,
    p_after_position bigint,
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
begin
    return query
    with candidate as materialized (
        -- One more than asked for, to see whether there is a next page.
        select f.*
        from read.fills f
        where (p_shard is null or f.shard = p_shard and f.position > p_after_position)
            and (p_shard is not null or (f.shard, f.position) > (p_after_shard, p_after_position))
            and (p_account is null or f.account = p_account)
            and (p_strategy_id is null or f.strategy_id = p_strategy_id)
            and (p_symbol is null or f.symbol = p_symbol)
            and (p_accounts is null or eventstore.matches(f.account, p_accounts))
        order by f.shard, f.position
        limit p_limit + 1
    )
    select
        eventstore.checkpoint(p_shard, 'fills'),
        eventstore.page(
            'fills',
            array_agg(trading.fill_json(c) order by c.shard, c.position),
            array_agg(c.shard || ':' || c.position order by c.shard, c.position),
            p_limit
        )
    from candidate c;
end
$$;
comment on function trading.query_fills is
    'A page of fills in the order of the log; next is shard:position. p_accounts: patterns, one of which their account matches.';
