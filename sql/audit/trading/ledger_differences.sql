-- Posts each execution from its event alone, as the head of sql/trading/projections/ledger.sql describes. The projection
-- looks up the fill that a bust or a correction reverses; here the event's copy of its values is used.
create or replace function audit.ledger_differences()
returns table (
    shard integer, log_position bigint, entry integer, problem text, in_the_log jsonb, in_the_read_table jsonb
)
language plpgsql
stable
as $$
#variable_conflict use_column
begin
    return query
    with posting as (
        select
            e.shard,
            e.position as log_position,
            e.aggregate_id as account,
            e.payload,
            x.entries_before,
            x.sign * case e.payload ->> 'side' when 'BUY' then 1 else -1 end * x.last_qty as quantity,
            x.last_px * coalesce((e.payload ->> 'multiplier')::numeric, 1) as price,
            coalesce(x.sign * x.fee, 0) as fee,
            x.fee_currency
        from audit.subscription_reach('ledger') r
        join trading.log e on e.shard = r.shard and e.position <= r.checkpoint
        cross join lateral (
            values
                (
                    e.type = 'FillCorrected', -1, 0, (e.payload ->> 'previous_qty')::numeric,
                    (e.payload ->> 'previous_px')::numeric, (e.payload ->> 'previous_fee')::numeric,
                    e.payload ->> 'previous_fee_currency'
                ),
                (
                    true, case e.type when 'FillBusted' then -1 else 1 end,
                    case e.type when 'FillCorrected' then 3 else 0 end, (e.payload ->> 'last_qty')::numeric,
                    (e.payload ->> 'last_px')::numeric, (e.payload ->> 'fee')::numeric, e.payload ->> 'fee_currency'
                )
        ) x (is_posted, sign, entries_before, last_qty, last_px, fee, fee_currency)
        where e.type in ('OrderFilled', 'FillBusted', 'FillCorrected')
            and x.is_posted
    ),
    priced as (
        select
            p.*,
            p.quantity * p.price as money,
            coalesce(p.payload ->> 'base_currency', p.payload ->> 'symbol') as base,
            coalesce(p.payload ->> 'quote_currency', (p.payload ->> 'symbol') || '/quote') as quote,
            case when p.fee_currency = p.payload ->> 'base_currency' then p.fee else 0 end as base_fee,
            case when p.fee_currency = p.payload ->> 'quote_currency' then p.fee else 0 end as quote_fee
        from posting p
    ),
    expected as (
        select
            p.shard,
            p.log_position,
            p.entries_before + m.entry as entry,
            to_jsonb(s) as row
        from priced p
        cross join lateral (
            values
                (1, p.base, p.quantity - p.base_fee, 0, -p.quantity, p.base_fee),
                (2, p.quote, 0, -p.money - p.quote_fee, p.money, p.quote_fee),
                (3, p.fee_currency, 0, -p.fee, 0, p.fee)
        ) m (entry, currency, position, cash, exchange, fees)
        cross join lateral (select p.account, m.currency, m.position, m.cash, m.exchange, m.fees) s
        where m.entry < 3
            or p.fee <> 0 and p.base_fee = 0 and p.quote_fee = 0
    ),
    kept as (
        select
            e.shard,
            e.log_position,
            e.entry::integer as entry,
            to_jsonb(s) as row
        from read.ledger_entries e
        cross join lateral (select e.account, e.currency, e.position, e.cash, e.exchange, e.fees) s
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
