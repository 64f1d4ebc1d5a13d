-- Aggregate types: order_book
-- Folds: OrderFilled, FillBusted, FillCorrected
-- Ignores: OrderBookCreated, OrderCreated, OrderDenied, OrderSubmitted, OrderAccepted, OrderRejected, OrderCanceled,
--   OrderExpired, OrderSuspended, OrderDoneForDay, OrderRestated, OrderCancelRequested,
--   OrderCancelPending, OrderCancelRejected, OrderReplaceRequested, OrderReplaceDenied, OrderReplacePending,
--   OrderReplaced, OrderReplaceRejected, FillConflictDetected, UnmatchedExecutionRecorded, InstrumentDefined,
--   RiskLimitsSet, TradingStateChanged, PriceRecorded
--
-- Double entry: what each execution moved, in entries that sum to zero in each currency, and the resulting balances.
--
-- An entry is one currency of one execution, with a column for each ledger account that it moves; a row that does not sum
-- to zero is refused. A fill of 2 BTC-USDT bought at 100 with a fee of 0.1 USDT is two entries:
--
--   entry  currency  position    cash  exchange  fees
--       1  BTC             +2       0        -2     0
--       2  USDT             0  -200.1      +200  +0.1
--
-- The money is quantity * price * multiplier. A fee in the base currency is taken from position instead of cash; a fee in
-- a third currency is a separate entry, 3. An unnamed currency is still a unit: the base of a symbol is then the symbol
-- itself, and its quote is `<symbol>/quote`, which is not a valid symbol.
--
-- Entries are never rewritten, whatever happens to the position. A bust posts the opposite of the fill, as last corrected,
-- as entries 1 to 3; a correction does the same, and then posts its own entries as 4 to 6.

create table ledger_entries (
    shard integer not null,
    log_position bigint not null,
    entry smallint not null,
    account text not null,
    currency text not null,
    position numeric not null,
    cash numeric not null,
    exchange numeric not null,
    fees numeric not null,
    primary key (shard, log_position, entry),
    constraint balanced check (position + cash + exchange + fees = 0)
);

create table ledger_balances (
    shard integer not null,
    account text not null,
    currency text not null,
    position numeric not null,
    cash numeric not null,
    exchange numeric not null,
    fees numeric not null,
    primary key (account, currency),
    constraint balanced check (position + cash + exchange + fees = 0)
) with (fillfactor = 45);

comment on table ledger_entries is 'Double entry: what each execution moved, a row per currency. A row that does not sum to zero is refused. Disposable: `foldbook projections rebuild ledger`.';
comment on column ledger_entries.log_position is 'Position of the OrderFilled, FillBusted or FillCorrected: the log has the rest.';
comment on column ledger_entries.entry is '1 to 3: the fill, or the opposite of a fill that was busted or corrected; 4 to 6: the corrected fill.';
comment on column ledger_entries.account is 'The account that traded.';
comment on column ledger_entries.currency is 'A symbol without a base currency is its own unit; without a quote currency, its money is in `<symbol>/quote`.';
comment on column ledger_entries.position is 'What the account received (positive) or gave, in units held; cash likewise, in money.';
comment on column ledger_entries.exchange is 'The other side of the trade: what the market received or gave.';
comment on column ledger_entries.fees is 'What the recipients of the fees received.';
comment on table ledger_balances is 'The sums of ledger_entries, a column for each ledger account. A row that does not sum to zero is refused.';

create function project_ledger(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- A plan made while the tables are small would keep scanning them.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    with posting as (
        select
            e.position,
            e.aggregate_id as account,
            case e.type when 'FillCorrected' then 3 else 0 end as entries_before,
            1 as sign,
            e.payload
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and e.type in ('OrderFilled', 'FillCorrected')
        union all
        select
            e.position,
            e.aggregate_id,
            0,
            -1,
            standing.payload
        from log e
        -- A fill that does not exist has no payload, and the insert fails on a not-null constraint.
        left join lateral (
            select s.payload
            from log s
            where s.shard = p_shard
                and s.subject = e.subject
                and s.aggregate_id = e.aggregate_id
                and s.sequence < e.sequence
                and s.type in ('OrderFilled', 'FillCorrected')
                and coalesce(s.payload ->> 'exec_ref_id', s.payload ->> 'exec_id') = e.payload ->> 'exec_ref_id'
            order by s.sequence desc
            limit 1
        ) standing on true
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and e.type in ('FillBusted', 'FillCorrected')
    ),
    said as (
        select
            p.position,
            p.account,
            p.entries_before,
            p.sign * case p.payload ->> 'side' when 'BUY' then 1 else -1 end * (p.payload ->> 'last_qty')::numeric as quantity,
            (p.payload ->> 'last_px')::numeric * coalesce((p.payload ->> 'multiplier')::numeric, 1) as price,
            coalesce(p.sign * (p.payload ->> 'fee')::numeric, 0) as fee,
            p.payload ->> 'fee_currency' as fee_currency,
            p.payload ->> 'symbol' as symbol,
            p.payload ->> 'base_currency' as base_currency,
            p.payload ->> 'quote_currency' as quote_currency
        from posting p
        offset 0 -- so that no expression above is evaluated twice
    ),
    priced as (
        select
            s.position,
            s.account,
            s.entries_before,
            coalesce(s.base_currency, s.symbol) as base,
            coalesce(s.quote_currency, s.symbol || '/quote') as quote,
            s.quantity,
            s.quantity * s.price as money,
            s.fee,
            s.fee_currency,
            case when s.fee_currency = s.base_currency then s.fee else 0 end as base_fee,
            case when s.fee_currency = s.quote_currency then s.fee else 0 end as quote_fee
        from said s
        offset 0
    ),
    entry as materialized (
        select
            p.position as log_position,
            p.entries_before + e.entry as entry,
            p.account,
            e.currency,
            e.position,
            e.cash,
            e.exchange,
            e.fees
        from priced p
        cross join lateral (
            values
                (1, p.base, p.quantity - p.base_fee, 0, -p.quantity, p.base_fee),
                (2, p.quote, 0, -p.money - p.quote_fee, p.money, p.quote_fee),
                (3, p.fee_currency, 0, -p.fee, 0, p.fee)
        ) e (entry, currency, position, cash, exchange, fees)
        where e.entry < 3
            or p.fee <> 0 and p.base_fee = 0 and p.quote_fee = 0
    ),
    posted as (
        insert into ledger_entries
        select
            p_shard, e.log_position, e.entry, e.account, e.currency, e.position, e.cash, e.exchange, e.fees
        from entry e
        order by e.log_position, e.entry
    ),
    change as (
        select
            e.account,
            e.currency,
            eventstore.total(e.position) as position,
            eventstore.total(e.cash) as cash,
            eventstore.total(e.exchange) as exchange,
            eventstore.total(e.fees) as fees
        from entry e
        group by e.account, e.currency
    )
    insert into ledger_balances as b
    select
        p_shard,
        c.account,
        c.currency,
        c.position,
        c.cash,
        c.exchange,
        c.fees
    from change c
    order by c.account, c.currency
    on conflict (account, currency) do update set
        position = b.position + excluded.position,
        cash = b.cash + excluded.cash,
        exchange = b.exchange + excluded.exchange,
        fees = b.fees + excluded.fees;
end
$$;
