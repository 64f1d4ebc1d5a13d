-- Double entry: what each execution moved, in entries that sum to zero in each currency, and the balances they make.
--
-- A fill of 2 BTC-USDT bought at 100 with a fee of 0.1 USDT is six entries:
--
--   1  position  BTC     +2       2  exchange  BTC     -2
--   3  cash      USDT  -200       4  exchange  USDT  +200
--   5  cash      USDT  -0.1       6  fees      USDT  +0.1
--
-- The money is quantity * price * multiplier. A fee in the base currency is taken out of position instead of cash. No
-- fee, or one of zero: no entries 5 and 6. A unit that nobody named is still one of its own: the base of a symbol is then
-- the symbol itself, its quote `<symbol>/quote`, which no symbol can be called.
--
-- Entries are never rewritten, whatever happens to the position. A bust posts the opposite of what stood for the fill,
-- its last correction or the fill itself, as 1 to 6; a correction that too, and then its own as 7 to 12.

create table ledger_entries (
    shard integer not null,
    position bigint not null,
    entry smallint not null,
    account text not null,
    ledger_account text not null,
    currency text not null,
    amount numeric not null,
    primary key (shard, position, entry)
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

comment on table ledger_entries is 'Double entry: what each execution moved. Those of a position in the log sum to zero in each currency. Disposable: `foldbook projections rebuild ledger`.';
comment on column ledger_entries.position is 'Position of the OrderFilled, FillBusted or FillCorrected: the log tells the rest.';
comment on column ledger_entries.entry is '1 to 6: the fill, or the opposite of what stood for it; 7 to 12: what a correction puts in its place.';
comment on column ledger_entries.account is 'The account that traded.';
comment on column ledger_entries.ledger_account is 'position and cash are the account''s, exchange and fees those who got or gave the other half.';
comment on column ledger_entries.currency is 'A symbol that names no base is its own unit, and `<symbol>/quote` is that of its money.';
comment on column ledger_entries.amount is 'Exact; positive: received.';
comment on table ledger_balances is 'The sums of ledger_entries, a column for each ledger account. A row that does not sum to zero is refused.';

create function project_ledger(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- A plan made while the tables are small would scan them for ever after.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    with posting as (
        select
            e.position,
            e.aggregate_id as account,
            case e.type when 'FillCorrected' then 6 else 0 end as entries_before,
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
        -- What was never filled has no payload here, and fails as not null.
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
    said as materialized (
        select
            p.position,
            p.account,
            p.entries_before,
            p.sign * case p.payload ->> 'side' when 'BUY' then 1 else -1 end * (p.payload ->> 'last_qty')::numeric as quantity,
            (p.payload ->> 'last_px')::numeric * coalesce((p.payload ->> 'multiplier')::numeric, 1) as price,
            p.sign * (p.payload ->> 'fee')::numeric as fee,
            p.payload ->> 'fee_currency' as fee_currency,
            p.payload ->> 'symbol' as symbol,
            p.payload ->> 'base_currency' as base_currency,
            p.payload ->> 'quote_currency' as quote_currency
        from posting p
        offset 0 -- so that no expression above is evaluated twice
    ),
    entry as (
        insert into ledger_entries
        select
            p_shard,
            s.position,
            s.entries_before + e.entry,
            s.account,
            e.ledger_account,
            e.currency,
            e.amount
        from said s
        cross join lateral (
            values
                (1, 'position', coalesce(s.base_currency, s.symbol), s.quantity),
                (2, 'exchange', coalesce(s.base_currency, s.symbol), -s.quantity),
                (3, 'cash', coalesce(s.quote_currency, s.symbol || '/quote'), -s.quantity * s.price),
                (4, 'exchange', coalesce(s.quote_currency, s.symbol || '/quote'), s.quantity * s.price),
                (5, case s.fee_currency when s.base_currency then 'position' else 'cash' end, s.fee_currency, -s.fee),
                (6, 'fees', s.fee_currency, s.fee)
        ) e (entry, ledger_account, currency, amount)
        where e.entry < 5
            or e.amount <> 0
        order by s.position, s.entries_before
    ),
    change as (
        select
            s.account,
            c.currency,
            eventstore.total(c.position) as position,
            eventstore.total(c.cash) as cash,
            eventstore.total(c.exchange) as exchange,
            eventstore.total(c.fees) as fees
        from said s
        cross join lateral (
            values
                (true, coalesce(s.base_currency, s.symbol), s.quantity, 0, -s.quantity, 0),
                (true, coalesce(s.quote_currency, s.symbol || '/quote'), 0, -s.quantity * s.price, s.quantity * s.price, 0),
                (
                    s.fee <> 0,
                    s.fee_currency,
                    case s.fee_currency when s.base_currency then -s.fee else 0 end,
                    case s.fee_currency when s.base_currency then 0 else -s.fee end,
                    0,
                    s.fee
                )
        ) c (is_posted, currency, position, cash, exchange, fees)
        where c.is_posted
        group by s.account, c.currency
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
