-- A position as of a position of the log is the last entry of the journal up to there; its time is in the log.
create or replace function trading.positions_as_of(
    p_account text, p_symbol text, p_as_of bigint, p_after text, p_limit integer
)
returns table (
    account text, symbol text, quantity numeric, cost numeric, realized_pnl numeric, cycle bigint, fees jsonb,
    multiplier numeric, kind text, base_currency text, quote_currency text, updated_at timestamptz,
    last_position bigint, last_price numeric
)
language plpgsql
stable
-- An absent filter vanishes from a custom plan.
set plan_cache_mode = force_custom_plan
-- Rows are read in the order of an index, until the page is full.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
    if p_as_of is null then
        return query
        select
            p.account, p.symbol, p.quantity, p.cost, p.realized_pnl, p.cycle, p.fees, p.multiplier, p.kind,
            p.base_currency, p.quote_currency, p.updated_at, p.last_position, l.price
        from read.positions p
        left join read.prices l on l.account = p.account and l.symbol = p.symbol
        where p.account = p_account
            and p.symbol > p_after
            and (p_symbol is null or p.symbol = p_symbol)
        order by p.symbol
        limit p_limit;
    else
        return query
        select
            p.account,
            p.symbol,
            e.quantity,
            e.cost,
            e.realized_pnl,
            e.cycle,
            e.fees,
            e.multiplier,
            e.kind,
            e.base_currency,
            e.quote_currency,
            l.occurred_at,
            e.position,
            null::numeric
        from read.positions p
        cross join lateral (
            select *
            from read.position_entries e
            where e.account = p.account
                and e.symbol = p.symbol
                and e.position <= p_as_of
            order by e.position desc
            limit 1
        ) e
        join eventstore.log l on l.shard = e.shard and l.position = e.position
        where p.account = p_account
            and p.symbol > p_after
            and (p_symbol is null or p.symbol = p_symbol)
        order by p.symbol
        limit p_limit;
    end if;
end
$$;
comment on function trading.positions_as_of is
    'The positions of an account, or its position in one symbol, after the events up to a position of the log, or now if that is null: then with the last price.';
