create or replace function audit.position_as_of(
    p_account text, p_symbol text, p_log_position bigint default 9223372036854775807
)
returns table (
    quantity numeric, avg_px numeric, cost numeric, realized_pnl numeric, fees jsonb, cycle bigint, multiplier numeric,
    kind text, base_currency text, quote_currency text, last_log_position bigint
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
        select coalesce(
            trading.booked_position(null, f.quantity, f.value, f.split_to, f.split_from order by f.position, f.number),
            '{0,0,0,0}'
        ) as state
        from trading.effective_fills(v_shard, p_account, p_symbol, p_log_position) f
    ),
    event as materialized (
        select e.position, e.type, e.payload
        from trading.log e
        where e.shard = v_shard
            and e.aggregate_id = p_account
            and e.type in (
                'OrderFilled', 'FillBusted', 'FillCorrected', 'ExecutionBooked', 'ExecutionBusted', 'ExecutionCorrected',
                'AccountAdjusted', 'InstrumentDefined'
            )
            and e.payload ->> 'symbol' = p_symbol
            and case e.type
                when 'AccountAdjusted' then e.payload ? 'quantity'
                when 'InstrumentDefined' then e.payload ? 'put_right'
                else true
            end
            and e.position <= p_log_position
    ),
    -- A fee that was refunded stays as a zero: it was charged once.
    charged as (
        select
            trading.fee_totals(null, c.currency, c.fee order by e.position) as fees,
            min(e.position) filter (where e.type <> 'InstrumentDefined') as first_position
        from event e
        cross join lateral (
            values
                (e.payload ->> 'previous_fee_currency', -(e.payload ->> 'previous_fee')::numeric),
                (
                    e.payload ->> 'fee_currency',
                    (e.payload ->> 'fee')::numeric
                    * case when e.type in ('FillBusted', 'ExecutionBusted') then -1 else 1 end
                )
        ) c (currency, fee)
    ),
    -- What was traded last says what the position is of. A currency that it does not know may have become known since.
    described as (
        select e.position, e.payload
        from event e
        where e.type in ('OrderFilled', 'ExecutionBooked')
            or e.type = 'AccountAdjusted' and not e.payload ? 'split_to'
        order by e.position desc
        limit 1
    ),
    put_right as (
        select
            max(e.payload ->> 'base_currency') as base_currency,
            max(e.payload ->> 'quote_currency') as quote_currency
        from event e
        cross join charged c
        left join described d on true
        where e.type = 'InstrumentDefined'
            and e.position > coalesce(d.position, c.first_position)
    ),
    told as (
        select
            coalesce((d.payload ->> 'multiplier')::numeric, 1) as multiplier,
            coalesce(d.payload ->> 'instrument_kind', 'SPOT') as kind,
            coalesce(d.payload ->> 'base_currency', r.base_currency) as base_currency,
            coalesce(d.payload ->> 'quote_currency', r.quote_currency) as quote_currency
        from put_right r
        left join described d on true
    )
    select
        f.state[1],
        trading.average_price(f.state[2], f.state[1], t.multiplier, t.kind),
        f.state[2],
        f.state[3],
        c.fees,
        f.state[4]::bigint,
        t.multiplier,
        t.kind,
        t.base_currency,
        t.quote_currency,
        (select max(e.position) from event e where e.position >= c.first_position)
    from folded f
    cross join charged c
    cross join told t
    where c.first_position is not null;
end
$$;
comment on function audit.position_as_of is
    'An account''s position in a symbol after the events up to a log position, folded from the log itself. No row: it had none.';
