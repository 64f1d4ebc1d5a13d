-- Posts each event from itself alone, as the head of sql/trading/projections/ledger.sql describes. The projection looks up
-- the fill that a bust or a correction reverses; here the event's copy of its values is used. What a definition books over
-- is what the entries before it come to; a wrong one among those is found itself.
create or replace function audit.ledger_differences()
returns table (
    shard integer, log_position bigint, entry integer, problem text, in_the_log jsonb, in_the_read_table jsonb
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with event as materialized (
        select
            e.shard,
            e.position as log_position,
            e.aggregate_id as account,
            e.type,
            e.payload,
            e.payload ->> 'symbol' as symbol,
            e.payload ->> 'base_currency' as base_currency,
            e.payload ->> 'quote_currency' as quote_currency,
            coalesce(e.payload ->> 'instrument_kind', e.payload ->> 'kind', '') = 'INVERSE' as is_inverse,
            coalesce((e.payload ->> 'multiplier')::numeric, 1) as multiplier,
            -- The fill that an execution is, or is about.
            array[e.subject, coalesce(e.payload ->> 'exec_ref_id', e.payload ->> 'exec_id')] as fill
        from audit.subscription_reach('ledger') r
        join trading.log e on e.shard = r.shard and e.position <= r.checkpoint
        where e.type in (
                'OrderFilled', 'FillBusted', 'FillCorrected', 'ExecutionBooked', 'ExecutionBusted', 'ExecutionCorrected',
                'AccountAdjusted'
            )
            or e.type = 'InstrumentDefined' and e.payload ? 'put_right'
    ),
    renamed as (
        select e.shard, e.log_position, e.account, 1 as entry, e.symbol as unit, e.base_currency as currency, e.multiplier
        from event e
        where e.type = 'InstrumentDefined'
            and not e.is_inverse
            and e.payload -> 'put_right' ? 'base_currency'
        union all
        select
            e.shard, e.log_position, e.account, 3, e.symbol || '|quote',
            case when e.is_inverse then e.base_currency else e.quote_currency end, 1
        from event e
        where e.type = 'InstrumentDefined'
            and e.payload -> 'put_right' ? case when e.is_inverse then 'base_currency' else 'quote_currency' end
    ),
    amendment as (
        select
            e.shard,
            e.log_position,
            e.account,
            e.symbol,
            f.log_position as filled_at,
            f.base_currency,
            f.quote_currency
        from event e
        join event f on f.account = e.account and f.fill = e.fill and f.type in ('OrderFilled', 'ExecutionBooked')
        where e.type in ('FillBusted', 'FillCorrected', 'ExecutionBusted', 'ExecutionCorrected')
    ),
    -- A fill of before a definition is busted and corrected in the currency that it was booked over to.
    booked_over as (
        select distinct on (a.shard, a.log_position, r.entry)
            a.shard,
            a.log_position,
            r.entry,
            r.currency,
            r.multiplier
        from amendment a
        join renamed r
            on r.account = a.account
            and r.unit in (a.symbol, a.symbol || '|quote')
            and r.log_position > a.filled_at
            and r.log_position < a.log_position
        order by a.shard, a.log_position, r.entry, r.log_position
    ),
    posting as (
        select
            e.*,
            x.entries_before,
            x.sign * case e.payload ->> 'side' when 'BUY' then 1 else -1 end as sign,
            x.last_qty,
            x.last_px,
            x.gross_amount,
            coalesce(x.sign * x.fee, 0) as fee,
            x.fee_currency
        from event e
        cross join lateral (
            values
                (
                    e.type in ('FillCorrected', 'ExecutionCorrected'), -1, 0, (e.payload ->> 'previous_qty')::numeric,
                    (e.payload ->> 'previous_px')::numeric, (e.payload ->> 'previous_gross_amount')::numeric,
                    (e.payload ->> 'previous_fee')::numeric, e.payload ->> 'previous_fee_currency'
                ),
                (
                    true, case when e.type in ('FillBusted', 'ExecutionBusted') then -1 else 1 end,
                    case when e.type in ('FillCorrected', 'ExecutionCorrected') then 3 else 0 end,
                    (e.payload ->> 'last_qty')::numeric, (e.payload ->> 'last_px')::numeric,
                    (e.payload ->> 'gross_amount')::numeric, (e.payload ->> 'fee')::numeric, e.payload ->> 'fee_currency'
                )
        ) x (is_posted, sign, entries_before, last_qty, last_px, gross_amount, fee, fee_currency)
        where e.type not in ('AccountAdjusted', 'InstrumentDefined')
            and x.is_posted
    ),
    priced as (
        select
            p.*,
            coalesce(s.traded_currency, b.currency, p.symbol) as base,
            p.sign * p.last_qty * case
                when s.traded_currency is not null then p.multiplier
                else coalesce(b.multiplier, 1)
            end as quantity,
            coalesce(s.currency, q.currency, p.symbol || '|quote') as settlement,
            p.sign * case
                when p.gross_amount is null
                    then p.last_qty * trading.unit_cost(p.last_px, p.multiplier, p.payload ->> 'instrument_kind')
                when p.is_inverse then -p.gross_amount
                else p.gross_amount
            end as money,
            case
                when p.fee_currency = p.base_currency and coalesce(p.payload ->> 'instrument_kind', 'SPOT') = 'SPOT' then 1
                when p.fee_currency = s.currency then 2
                else 3
            end as paid_in
        from posting p
        left join amendment a on a.shard = p.shard and a.log_position = p.log_position
        cross join lateral (
            -- The currencies of the fill, whatever they are called by now.
            select
                case when a.log_position is null then p.base_currency else a.base_currency end as base_currency,
                case when a.log_position is null then p.quote_currency else a.quote_currency end as quote_currency
        ) f
        cross join lateral (
            select
                case when not p.is_inverse then f.base_currency end as traded_currency,
                case when p.is_inverse then f.base_currency else f.quote_currency end as currency
        ) s
        left join booked_over b on b.shard = p.shard and b.log_position = p.log_position and b.entry = 1
        left join booked_over q on q.shard = p.shard and q.log_position = p.log_position and q.entry = 3
    ),
    moved (shard, log_position, entry, account, currency, position, cash, exchange, fees, capital, income) as (
        select
            p.shard, p.log_position, p.entries_before + m.entry, p.account, m.currency, m.position, m.cash, m.exchange,
            m.fees, 0, 0
        from priced p
        cross join lateral (
            values
                (
                    1, p.base, p.quantity - case p.paid_in when 1 then p.fee else 0 end, 0, -p.quantity,
                    case p.paid_in when 1 then p.fee else 0 end
                ),
                (
                    2, p.settlement, 0, -p.money - case p.paid_in when 2 then p.fee else 0 end, p.money,
                    case p.paid_in when 2 then p.fee else 0 end
                ),
                (3, p.fee_currency, 0, -p.fee, 0, p.fee)
        ) m (entry, currency, position, cash, exchange, fees)
        where m.entry < 3
            or p.fee <> 0 and p.paid_in = 3
        union all
        select
            e.shard, e.log_position, 1, e.account, m.currency, m.position, m.cash, 0, m.fees, m.capital, m.income
        from event e
        cross join lateral (
            select
                e.payload ->> 'kind' as kind,
                (e.payload ->> 'amount')::numeric as amount,
                (e.payload ->> 'quantity')::numeric as quantity,
                e.base_currency is not null and not e.is_inverse as is_known
        ) a
        cross join lateral (
            select
                case when a.is_known then e.base_currency else e.symbol end as currency,
                a.quantity * case when a.is_known then e.multiplier else 1 end as position,
                0 as cash, 0 as fees, -a.quantity * case when a.is_known then e.multiplier else 1 end as capital, 0 as income
            where a.kind in ('OPENING', 'TRANSFER', 'SPLIT')
                and a.quantity is not null
            union all
            select e.payload ->> 'currency', 0, a.amount, 0, -a.amount, 0
            where a.kind in ('OPENING', 'TRANSFER', 'CASH')
                and a.amount is not null
            union all
            select e.payload ->> 'currency', 0, a.amount, 0, 0, -a.amount
            where a.kind in ('FUNDING', 'DIVIDEND')
            union all
            select e.payload ->> 'currency', 0, -a.amount, a.amount, 0, 0
            where a.kind = 'FEE'
        ) m
        where e.type = 'AccountAdjusted'
        union all
        select
            r.shard, r.log_position, r.entry + m.number, r.account, m.currency, b.position * m.factor, b.cash * m.factor,
            b.exchange * m.factor, b.fees * m.factor, b.capital * m.factor, b.income * m.factor
        from renamed r
        cross join lateral (
            select
                sum(k.position) as position, sum(k.cash) as cash, sum(k.exchange) as exchange, sum(k.fees) as fees,
                sum(k.capital) as capital, sum(k.income) as income
            from read.ledger_entries k
            where k.shard = r.shard
                and k.account = r.account
                and k.currency = r.unit
                and k.log_position < r.log_position
        ) b
        cross join lateral (values (0, r.unit, -1), (1, r.currency, r.multiplier)) m (number, currency, factor)
        where (b.position, b.cash, b.exchange, b.fees, b.capital, b.income) <> (0, 0, 0, 0, 0, 0)
    ),
    expected as (
        select
            m.shard,
            m.log_position,
            m.entry,
            to_jsonb(s) as row
        from moved m
        cross join lateral (
            select m.account, m.currency, m.position, m.cash, m.exchange, m.fees, m.capital, m.income
        ) s
    ),
    kept as (
        select
            e.shard,
            e.log_position,
            e.entry::integer as entry,
            to_jsonb(s) as row
        from read.ledger_entries e
        cross join lateral (
            select e.account, e.currency, e.position, e.cash, e.exchange, e.fees, e.capital, e.income
        ) s
    )
    select
        coalesce(e.shard, k.shard),
        coalesce(e.log_position, k.log_position),
        coalesce(e.entry, k.entry),
        case when k.row is null then 'missing' when e.row is null then 'surplus' else 'different' end,
        e.row,
        k.row
    from expected e
    full join kept k on k.shard = e.shard and k.log_position = e.log_position and k.entry = e.entry
    where e.row is distinct from k.row
    order by 1, 2, 3;
end
$$;
comment on function audit.ledger_differences is
    'Where read.ledger_entries differs from the log, up to where its projection has read: an entry is missing, surplus or different. No row: all is well.';
