create or replace function trading.query_positions(
    p_shard integer,
    p_account text,
    p_symbol text,
    p_as_of bigint,
    p_after text,
    p_limit integer
)
returns table (is_account_known boolean, "position" bigint, items json, next text)
language plpgsql
stable
-- A filter that is not there vanishes from a custom plan, and what is left finds its index.
set plan_cache_mode = force_custom_plan
-- Nobody asks for all of it: rows are read in the order of an index until the page is full.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for tells whether there is more.
        select *
        from trading.positions_as_of(p_account, p_symbol, p_as_of, p_after, p_limit + 1)
        where p_as_of is not null
        union all
        (
            select
                p.account, p.symbol, p.quantity, p.cost, p.realized_pnl, p.cycle, p.fees, p.multiplier, p.base_currency,
                p.quote_currency, p.updated_at, p.last_position
            from read.positions p
            where p_as_of is null
                and p.account = p_account
                and p.symbol > p_after
                and (p_symbol is null or p.symbol = p_symbol)
            order by p.symbol
            limit p_limit + 1
        )
    ),
    numbered as (
        select c as entry, row_number() over (order by c.symbol) as ordinal
        from candidate c
    )
    select
        trading.is_account_known(p_shard, p_account),
        coalesce(p_as_of, eventstore.checkpoint(p_shard, 'positions')),
        coalesce(
            json_agg(trading.position_json(n.entry) order by n.ordinal) filter (where n.ordinal <= p_limit), '[]'
        ),
        case when count(*) > p_limit then max((n.entry).symbol) filter (where n.ordinal = p_limit) end
    from numbered n;
end
$$;
comment on function trading.query_positions is
    'A page of the positions of an account by symbol, or the one in p_symbol, now or as of a position of the log; next is the symbol after which the next page begins.';
