create or replace function audit.position_cycles(
    p_account text, p_symbol text, p_log_position bigint default 9223372036854775807
)
returns table (
    cycle bigint, side text, opened_log_position bigint, opened_at timestamptz, closed_log_position bigint,
    closed_at timestamptz, fills bigint, realized_pnl numeric, fees jsonb
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_shard integer := eventstore.shard_of(p_account);
begin
    return query
    with folded as (
        select
            f.*,
            trading.booked_position(null, f.quantity, f.value, f.split_to, f.split_from)
                over (order by f.position, f.number rows unbounded preceding) as state
        from trading.effective_fills(v_shard, p_account, p_symbol, p_log_position) f
    ),
    step as (
        select
            f.*,
            coalesce(lag(f.state) over (order by f.position, f.number), '{0,0,0,0}') as before
        from folded f
    ),
    flip as (
        select
            s.*,
            s.before[1] <> 0 and s.state[1] <> 0 and sign(s.before[1]) <> sign(s.state[1]) as is_flip
        from step s
    ),
    shared as (
        select
            f.*,
            -- Cut to 18 digits after the point; the part that opens the next cycle bears the remainder.
            case when f.is_flip then sign(f.fee) * div(abs(f.fee * f.before[1]) * 1e18, abs(f.quantity)) * 1e-18 end as closing_fee
        from flip f
    ),
    part as (
        -- The end of a cycle by a flip,
        select
            s.before[4] as cycle, s.position, 1 as number, s.fee_currency, s.closing_fee as fee,
            s.state[3] - s.before[3] as realized, 0 as opened, true as is_end, s.type
        from shared s
        where s.is_flip
        union all
        -- and everything else, including the part of a flip that opens the next cycle.
        select
            s.state[4], s.position, s.number + 1, s.fee_currency, s.fee - coalesce(s.closing_fee, 0),
            case when s.is_flip then 0 else s.state[3] - s.before[3] end,
            case when s.state[4] <> s.before[4] then sign(s.state[1]) else 0 end,
            s.state[1] = 0 and s.before[1] <> 0,
            s.type
        from shared s
    ),
    summed as (
        select
            p.cycle::bigint as cycle,
            case when sum(p.opened) < 0 then 'SHORT' else 'LONG' end as side,
            min(p.position) filter (where p.opened <> 0) as opened_position,
            max(p.position) filter (where p.is_end) as closed_position,
            count(*) filter (where p.type <> 'AccountAdjusted') as fills,
            sum(p.realized) as realized_pnl,
            trading.fee_totals(null, p.fee_currency, p.fee order by p.position, p.number) as fees
        from part p
        where p.cycle > 0
        group by p.cycle
    )
    select
        s.cycle,
        s.side,
        s.opened_position,
        (select e.occurred_at from trading.log e where e.shard = v_shard and e.position = s.opened_position),
        s.closed_position,
        (select e.occurred_at from trading.log e where e.shard = v_shard and e.position = s.closed_position),
        s.fills,
        s.realized_pnl,
        s.fees
    from summed s
    order by s.cycle;
end
$$;
comment on function audit.position_cycles is
    'A position from flat to flat, from the log itself: when each cycle was opened and closed, what it realised, gross of fees, and its fees. A flip ends one cycle and begins the next, and its fee is split by quantity.';
