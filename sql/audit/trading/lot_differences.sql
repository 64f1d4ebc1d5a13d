create or replace function audit.lot_differences()
returns table (
    shard integer, account text, symbol text, log_position bigint, problem text, expected jsonb, found jsonb
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with held as (
        select
            e.shard,
            e.aggregate_id as account,
            e.payload ->> 'symbol' as symbol,
            sum(x.sign * case
                when e.type = 'AccountAdjusted' then (e.payload ->> 'quantity')::numeric
                else trading.signed_quantity(
                    e.payload ->> 'side', x.last_qty, x.fee, x.fee_currency, e.payload ->> 'base_currency',
                    e.payload ->> 'instrument_kind'
                )
            end) as quantity
        from audit.subscription_reach('lots') r
        join trading.log e on e.shard = r.shard and e.position <= r.checkpoint
        cross join lateral (
            values
                (
                    true, case when e.type in ('FillBusted', 'ExecutionBusted') then -1 else 1 end,
                    (e.payload ->> 'last_qty')::numeric, (e.payload ->> 'fee')::numeric, e.payload ->> 'fee_currency'
                ),
                (
                    e.type in ('FillCorrected', 'ExecutionCorrected'), -1, (e.payload ->> 'previous_qty')::numeric,
                    (e.payload ->> 'previous_fee')::numeric, e.payload ->> 'previous_fee_currency'
                )
        ) x (is_counted, sign, last_qty, fee, fee_currency)
        where x.is_counted
            and (
                e.type in (
                    'OrderFilled', 'FillBusted', 'FillCorrected', 'ExecutionBooked', 'ExecutionBusted', 'ExecutionCorrected'
                )
                or e.type = 'AccountAdjusted' and e.payload ? 'quantity'
            )
        group by e.shard, e.aggregate_id, e.payload ->> 'symbol'
    ),
    summed as (
        select
            l.shard,
            l.account,
            l.symbol,
            sum(l.remaining) as quantity,
            sum(abs(l.quantity)) as opened_quantity
        from read.lots l
        group by l.shard, l.account, l.symbol
    ),
    closed as (
        select
            c.shard,
            c.account,
            c.symbol,
            c.opened_position,
            c.opened_leg,
            sum(c.quantity) as quantity,
            sum(c.realized_pnl) as realized_pnl
        from read.lot_closings c
        group by c.shard, c.account, c.symbol, c.opened_position, c.opened_leg
    ),
    finding (shard, account, symbol, log_position, problem, expected, found) as (
        select
            coalesce(h.shard, s.shard),
            coalesce(h.account, s.account),
            coalesce(h.symbol, s.symbol),
            null::bigint,
            'position',
            jsonb_build_object('quantity', coalesce(h.quantity, 0)),
            jsonb_build_object('quantity', coalesce(s.quantity, 0))
        from held h
        full join summed s on s.shard = h.shard and s.account = h.account and s.symbol = h.symbol
        union all
        select
            coalesce(s.shard, t.shard),
            coalesce(s.account, t.account),
            coalesce(s.symbol, t.symbol),
            null,
            'total',
            case
                when s.account is not null
                    then jsonb_build_object('quantity', s.quantity, 'opened_quantity', s.opened_quantity)
            end,
            case
                when t.account is not null
                    then jsonb_build_object('quantity', t.quantity, 'opened_quantity', t.opened_quantity)
            end
        from summed s
        full join read.lot_positions t on t.shard = s.shard and t.account = s.account and t.symbol = s.symbol
        union all
        select
            coalesce(l.shard, c.shard),
            coalesce(l.account, c.account),
            coalesce(l.symbol, c.symbol),
            coalesce(l.opened_position, c.opened_position),
            'closings',
            case
                when l.account is not null
                    then jsonb_build_object('closed', l.quantity - l.remaining, 'realized_pnl', l.realized_pnl)
            end,
            jsonb_build_object('closed', coalesce(c.quantity, 0), 'realized_pnl', coalesce(c.realized_pnl, 0))
        from read.lots l
        full join closed c
            on c.shard = l.shard
            and c.account = l.account
            and c.symbol = l.symbol
            and c.opened_position = l.opened_position
            and c.opened_leg = l.opened_leg
    )
    select f.*
    from finding f
    where f.expected is distinct from f.found
    order by 1, 2, 3, 4 nulls first, 5;
end
$$;
comment on function audit.lot_differences is
    'Where lots do not add up: the lots of a symbol to its position in the log (position) or to read.lot_positions (total), the closings of a lot to its closed quantity (closings). No row: all is well.';
