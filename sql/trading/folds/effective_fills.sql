-- A busted fill is not listed. A corrected fill is listed in its place, as last corrected. If the fill was so old that the
-- position reversed it when the bust or correction was reported (is_reversal), the fill stays, and its reversal is listed
-- where it was booked, followed by what replaced the fill.
create or replace function trading.effective_fills(
    p_shard integer, p_account text, p_symbol text, p_to bigint default 9223372036854775807
)
returns table (
    "position" bigint, number integer, type text, order_id text, strategy_id text, exec_id text, quantity numeric,
    price numeric, multiplier numeric, fee numeric, fee_currency text, amended_by bigint
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
            e.subject as order_id,
            e.payload ->> 'strategy_id' as strategy_id,
            e.payload ->> 'exec_id' as exec_id,
            coalesce(e.payload ->> 'exec_ref_id', e.payload ->> 'exec_id') as fill_exec_id,
            e.type = 'OrderFilled' as is_fill,
            e.type = 'FillBusted' as is_bust,
            coalesce((e.payload ->> 'is_reversal')::boolean, false) as is_reversal,
            trading.signed_quantity(
                e.payload ->> 'side',
                (e.payload ->> 'last_qty')::numeric,
                (e.payload ->> 'fee')::numeric,
                e.payload ->> 'fee_currency',
                e.payload ->> 'base_currency'
            ) as quantity,
            trading.signed_quantity(
                e.payload ->> 'side',
                (e.payload ->> 'previous_qty')::numeric,
                (e.payload ->> 'previous_fee')::numeric,
                e.payload ->> 'previous_fee_currency',
                e.payload ->> 'base_currency'
            ) as previous_quantity,
            (e.payload ->> 'last_px')::numeric as last_px,
            (e.payload ->> 'previous_px')::numeric as previous_px,
            coalesce((e.payload ->> 'multiplier')::numeric, 1) as multiplier,
            (e.payload ->> 'fee')::numeric as fee,
            e.payload ->> 'fee_currency' as fee_currency,
            (e.payload ->> 'previous_fee')::numeric as previous_fee,
            e.payload ->> 'previous_fee_currency' as previous_fee_currency
        from eventstore.log e
        where e.shard = p_shard
            and e.aggregate_id = p_account
            and e.type in ('OrderFilled', 'FillBusted', 'FillCorrected')
            and e.payload ->> 'symbol' = p_symbol
            and e.position <= p_to
    ),
    -- What a bust or a correction refers to: the latest event before it that added the fill.
    placed as (
        select
            x.*,
            max(x.position) filter (where x.is_fill or x.is_reversal and not x.is_bust)
                over (partition by x.order_id, x.fill_exec_id order by x.position) as fill_position
        from execution x
    ),
    amendment as (
        select distinct on (p.fill_position) p.*
        from placed p
        where not p.is_fill and not p.is_reversal
        order by p.fill_position, p.position desc
    )
    select
        x.position, 1, x.type, x.order_id, x.strategy_id, x.exec_id,
        case when x.is_bust then -x.quantity else -x.previous_quantity end,
        case when x.is_bust then x.last_px else x.previous_px end,
        x.multiplier,
        case when x.is_bust then -x.fee else -x.previous_fee end,
        case when x.is_bust then x.fee_currency else x.previous_fee_currency end,
        null::bigint
    from execution x
    where x.is_reversal
    union all
    select
        x.position, 2, x.type, x.order_id, x.strategy_id, x.exec_id, x.quantity, x.last_px, x.multiplier, x.fee,
        x.fee_currency, null
    from execution x
    where (x.is_fill or x.is_reversal and not x.is_bust)
        and not exists (select from amendment a where a.fill_position = x.position)
    union all
    select
        x.position, 2, x.type, x.order_id, x.strategy_id, x.exec_id, a.quantity, a.last_px, a.multiplier, a.fee,
        a.fee_currency, a.position
    from execution x
    join amendment a on a.fill_position = x.position
    where not a.is_bust
    order by 1, 2;
end
$$;
comment on function trading.effective_fills is
    'The fills that make up a position as of a position of the log, read from the log itself, in the order of booking; quantity is signed, less a fee in the base currency.';
