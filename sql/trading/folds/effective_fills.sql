-- A busted fill is not listed. A corrected fill is listed in its place, as last corrected. If the fill was so old that the
-- position reversed it when the bust or correction was reported (is_reversal), the fill stays, and its reversal is listed
-- where it was booked, followed by what replaced the fill. With p_is_corrected such a fill is removed or replaced in its
-- place too: that is what happened, as is known now.
-- Adjustments are listed with the fills. Only a split has split_to and split_from; its quantity is what it added then.
create or replace function trading.effective_fills(
    p_shard integer, p_account text, p_symbol text, p_to bigint default 9223372036854775807,
    p_is_corrected boolean default false
)
returns table (
    "position" bigint, number integer, type text, symbol text, order_id text, strategy_id text, exec_id text,
    quantity numeric, value numeric, price numeric, multiplier numeric, kind text, base_currency text,
    quote_currency text, fee numeric, fee_currency text, split_to numeric, split_from numeric, counted_at timestamptz,
    amended_by bigint, is_describing boolean
)
language plpgsql
stable
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    with execution as materialized (
        select
            e.position,
            e.type,
            e.subject,
            e.type in ('OrderFilled', 'ExecutionBooked', 'AccountAdjusted') as is_fill,
            e.type in ('FillBusted', 'ExecutionBusted') as is_bust,
            coalesce(s.is_reversal, false) and not p_is_corrected as is_reversal,
            coalesce(s.exec_ref_id, s.exec_id) as fill_exec_id,
            s.symbol,
            s.order_id,
            s.strategy_id,
            s.exec_id,
            b.quantity,
            b.value,
            r.quantity as previous_quantity,
            r.value as previous_value,
            coalesce(s.last_px, s.price) as price,
            s.previous_px,
            coalesce(s.multiplier, 1) as multiplier,
            coalesce(s.instrument_kind, 'SPOT') as kind,
            s.base_currency,
            s.quote_currency,
            s.fee,
            s.fee_currency,
            s.previous_fee,
            s.previous_fee_currency,
            s.split_to,
            s.split_from,
            coalesce(s.counted_at, s.transact_time, e.occurred_at) as counted_at
        from trading.log e
        cross join lateral jsonb_to_record(e.payload) s (
            symbol text, order_id text, strategy_id text, exec_id text, exec_ref_id text, is_reversal boolean,
            last_px numeric, previous_px numeric, price numeric, multiplier numeric, instrument_kind text,
            base_currency text, quote_currency text, fee numeric, fee_currency text, previous_fee numeric,
            previous_fee_currency text, split_to numeric, split_from numeric, counted_at timestamptz,
            transact_time timestamptz
        )
        cross join lateral trading.booking(e.payload) b
        cross join lateral trading.booking(e.payload, e.type in ('FillCorrected', 'ExecutionCorrected')) r
        where e.shard = p_shard
            and e.aggregate_id = p_account
            and e.type in (
                'OrderFilled', 'FillBusted', 'FillCorrected', 'ExecutionBooked', 'ExecutionBusted', 'ExecutionCorrected',
                'AccountAdjusted'
            )
            and e.payload ->> 'symbol' = p_symbol
            and (e.type <> 'AccountAdjusted' or e.payload ? 'quantity')
            and e.position <= p_to
    ),
    -- What a bust or a correction refers to: the latest event before it that added the fill.
    placed as (
        select
            x.*,
            max(x.position) filter (where x.is_fill or x.is_reversal and not x.is_bust)
                over (partition by x.subject, x.fill_exec_id order by x.position) as fill_position
        from execution x
        where x.subject is not null
    ),
    amendment as (
        select distinct on (p.fill_position) p.*
        from placed p
        where not p.is_fill and not p.is_reversal
        order by p.fill_position, p.position desc
    )
    select
        x.position, 1, x.type, x.symbol, x.order_id, x.strategy_id, x.exec_id, -x.previous_quantity, -x.previous_value,
        case when x.is_bust then x.price else x.previous_px end,
        x.multiplier, x.kind, x.base_currency, x.quote_currency,
        case when x.is_bust then -x.fee else -x.previous_fee end,
        case when x.is_bust then x.fee_currency else x.previous_fee_currency end,
        null::numeric, null::numeric, x.counted_at, null::bigint, false
    from execution x
    where x.is_reversal
    union all
    select
        x.position, 2, x.type, x.symbol, x.order_id, x.strategy_id, x.exec_id, x.quantity, x.value, x.price,
        x.multiplier, x.kind, x.base_currency, x.quote_currency, x.fee, x.fee_currency, x.split_to, x.split_from,
        x.counted_at, null, x.is_fill and x.split_to is null
    from execution x
    where (x.is_fill or x.is_reversal and not x.is_bust)
        and not exists (select from amendment a where a.fill_position = x.position)
    union all
    select
        x.position, 2, x.type, x.symbol, x.order_id, x.strategy_id, x.exec_id, a.quantity, a.value, a.price,
        x.multiplier, x.kind, x.base_currency, x.quote_currency, a.fee, a.fee_currency, null, null, x.counted_at,
        a.position, x.is_fill
    from execution x
    join amendment a on a.fill_position = x.position
    where not a.is_bust
    order by 1, 2;
end
$$;
comment on function trading.effective_fills is
    'The fills and adjustments that make up a position as of a position of the log, read from the log itself, in the order of booking. quantity is signed, less a fee that is taken from it; value is what it costs; counted_at is the business time that decides. is_describing: what follows it is a position of its multiplier, kind and currencies.';
