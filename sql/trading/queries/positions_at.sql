-- What was told late counts where it belongs, and what was busted or corrected since never happened, or happened as it was
-- corrected. So all of it is folded from the log, in the order of counted time.
create or replace function trading.positions_at(
    p_shard integer, p_account text, p_symbol text, p_time timestamptz, p_after_symbol text, p_limit integer
)
returns table (
    account text, symbol text, quantity numeric, cost numeric, realized_pnl numeric, cycle bigint, fees jsonb,
    multiplier numeric, kind text, base_currency text, quote_currency text, updated_at timestamptz,
    last_position bigint
)
language plpgsql
stable
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    with traded as (
        select distinct e.payload ->> 'symbol' as symbol
        from trading.log e
        where e.shard = p_shard
            and e.aggregate_id = p_account
            and (
                e.type in ('OrderFilled', 'ExecutionBooked')
                or e.type = 'AccountAdjusted' and e.payload ? 'quantity'
            )
            and (p_symbol is null or e.payload ->> 'symbol' = p_symbol)
            and e.payload ->> 'symbol' > p_after_symbol
    ),
    fill as materialized (
        select f.*
        from traded t
        cross join lateral trading.effective_fills(p_shard, p_account, t.symbol, p_is_corrected => true) f
        where f.counted_at <= p_time
    ),
    folded as (
        select
            f.symbol,
            trading.booked_position(
                null, case when f.split_to is null then f.quantity end, f.value, f.split_to, f.split_from
                order by f.counted_at, f.position
            ) as state,
            trading.fee_totals(null, f.fee_currency, f.fee order by f.counted_at, f.position) as fees,
            max(f.counted_at) as updated_at,
            max(f.position) as last_position
        from fill f
        group by f.symbol
        order by f.symbol
        limit p_limit
    ),
    described as (
        select distinct on (f.symbol) f.symbol, f.multiplier, f.kind, f.base_currency, f.quote_currency
        from fill f
        where f.is_describing
        order by f.symbol, f.counted_at desc, f.position desc
    )
    select
        p_account, f.symbol, f.state[1], f.state[2], f.state[3], f.state[4]::bigint, f.fees,
        coalesce(d.multiplier, 1), coalesce(d.kind, 'SPOT'), coalesce(d.base_currency, p.base_currency),
        coalesce(d.quote_currency, p.quote_currency), f.updated_at, f.last_position
    from folded f
    left join described d on d.symbol = f.symbol
    left join read.positions p on p.account = p_account and p.symbol = f.symbol
    order by f.symbol;
end
$$;
comment on function trading.positions_at is
    'The positions of an account, or its position in one symbol, at a business time, by what is known now. A currency that became known later is shown.';
