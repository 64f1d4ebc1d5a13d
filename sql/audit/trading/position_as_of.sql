create or replace function audit.position_as_of(
    p_account text, p_symbol text, p_log_position bigint default 9223372036854775807
)
returns table (
    quantity numeric, avg_px numeric, cost numeric, realized_pnl numeric, fees jsonb, cycle bigint, multiplier numeric,
    last_log_position bigint
)
language plpgsql
stable
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_shard integer := eventstore.shard_of(p_account);
begin
    return query
    with folded as (
        select coalesce(
            trading.net_position(null, f.quantity, f.price * f.multiplier order by f.position, f.number),
            '{0,0,0,0}'
        ) as state
        from trading.effective_fills(v_shard, p_account, p_symbol, p_log_position) f
    ),
    -- A fee that was refunded stays as a zero: it was charged once.
    charge as (
        select
            e.position,
            c.number,
            case c.number when 2 then e.payload ->> 'fee_currency' else e.payload ->> 'previous_fee_currency' end as currency,
            case
                when c.number = 1 then -(e.payload ->> 'previous_fee')::numeric
                when e.type = 'FillBusted' then -(e.payload ->> 'fee')::numeric
                else (e.payload ->> 'fee')::numeric
            end as fee,
            coalesce((e.payload ->> 'multiplier')::numeric, 1) as multiplier
        from trading.log e
        cross join (values (1), (2)) c (number)
        where e.shard = v_shard
            and e.aggregate_id = p_account
            and e.type in ('OrderFilled', 'FillBusted', 'FillCorrected')
            and e.payload ->> 'symbol' = p_symbol
            and e.position <= p_log_position
    ),
    charged as (
        select
            trading.fee_totals(null, c.currency, c.fee order by c.position, c.number) as fees,
            (array_agg(c.multiplier order by c.position desc))[1] as multiplier,
            max(c.position) as last_position
        from charge c
    )
    select
        f.state[1],
        trading.average(f.state[2], f.state[1], c.multiplier),
        f.state[2],
        f.state[3],
        c.fees,
        f.state[4]::bigint,
        c.multiplier,
        c.last_position
    from folded f
    cross join charged c
    where c.last_position is not null;
end
$$;
comment on function audit.position_as_of is
    'An account''s position in a symbol after the events up to a log position, folded from the log itself. No row: it had none.';
