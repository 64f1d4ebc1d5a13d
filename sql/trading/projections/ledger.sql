-- Aggregate types: order_book
-- Folds: OrderFilled, FillBusted, FillCorrected, ExecutionBooked, ExecutionBusted, ExecutionCorrected, AccountAdjusted,
--   InstrumentDefined
-- Ignores: OrderBookCreated, OrderCreated, OrderDenied, OrderSubmitted, OrderAccepted, OrderRejected, OrderCanceled,
--   OrderExpired, OrderSuspended, OrderDoneForDay, OrderRestated, OrderCancelRequested, OrderCancelSubmitted,
--   OrderCancelPending, OrderCancelRejected, OrderReplaceRequested, OrderReplaceSubmitted, OrderReplaceDenied,
--   OrderReplacePending, OrderReplaced, OrderReplaceRejected, OrderInDoubt, OrderDoubtResolved, FillConflictDetected,
--   UnmatchedExecutionRecorded, RiskLimitsSet, TradingStateChanged, PriceRecorded, PositionMismatchDetected,
--   PositionMismatchResolved
--
-- Double entry: what each execution and each adjustment moved, in entries that sum to zero, and the resulting balances.
--
-- An entry is one currency of one event, with a column for each ledger account that it moves; a row that does not sum
-- to zero is refused. A fill of 2 BTC-USDT bought at 100 with a fee of 0.1 USDT is two entries:
--
--   entry  currency  position    cash  exchange  fees  capital  income
--       1  BTC             +2       0        -2     0        0       0
--       2  USDT             0  -200.1      +200  +0.1        0       0
--
-- Entry 1 is what was traded: quantity * multiplier of the base currency. If that is unknown, or the contract is INVERSE,
-- the symbol itself is the unit, and the entry has the plain quantity. Entry 2 is the money, in the currency of settlement,
-- which is the quote currency and for an INVERSE contract the base currency; if that is unknown, the unit is
-- `<symbol>|quote`, which is not a valid symbol. The money is the gross amount if the broker told it, else last_qty * unit
-- cost. A fee that is taken from what was traded (trading.fee_in_kind) is taken from position, any other fee from cash: in
-- entry 2 if it is in the currency of settlement, else in a separate entry, 3.
--
-- Entries are never rewritten, whatever happens to the position. A bust posts the opposite of the fill, as last corrected,
-- as entries 1 to 3; a correction does the same, and then posts its own entries as 4 to 6.
--
-- What came from outside or went there is posted against capital: a position (OPENING, TRANSFER, and what a SPLIT adds) and
-- money (OPENING, TRANSFER, CASH). FUNDING and DIVIDEND are posted against income, a FEE against fees.
--
-- A definition that puts right a currency which was unknown while the symbol was traded (put_right) books over what is in
-- the unknown unit: entry 1 takes the balances out of the symbol, entry 2 adds them, times the multiplier, to the base
-- currency; entries 3 and 4 do the same for the money. ledger_renames remembers that for what is busted or corrected later:
-- that is posted in the units of its fill, or in what they became, whatever the symbol is called by then.

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
    capital numeric not null,
    income numeric not null,
    primary key (shard, log_position, entry),
    constraint balanced check (position + cash + exchange + fees + capital + income = 0)
);

create index ledger_entries_by_account on ledger_entries (account, log_position, entry, currency);

create table ledger_balances (
    shard integer not null,
    account text not null,
    currency text not null,
    position numeric not null,
    cash numeric not null,
    exchange numeric not null,
    fees numeric not null,
    capital numeric not null,
    income numeric not null,
    primary key (account, currency),
    constraint balanced check (position + cash + exchange + fees + capital + income = 0)
) with (fillfactor = 45);

create table ledger_renames (
    shard integer not null,
    account text not null,
    unit text not null,
    log_position bigint not null,
    currency text not null,
    multiplier numeric not null,
    primary key (account, unit, log_position)
);

comment on table ledger_entries is 'Double entry: what each execution and each adjustment moved, a row per currency. A row that does not sum to zero is refused. Disposable: `foldbook projections rebuild ledger`.';
comment on column ledger_entries.log_position is 'Position of the event: the log has the rest.';
comment on column ledger_entries.entry is 'Of an execution, 1 to 3: the fill, or the opposite of a fill that was busted or corrected; 4 to 6: the corrected fill. Of a definition that puts right a currency, 1 and 2: from the symbol to the base currency; 3 and 4: from `<symbol>|quote` to the currency of settlement.';
comment on column ledger_entries.account is 'The account that traded.';
comment on column ledger_entries.currency is 'A symbol whose base currency is unknown, or which is INVERSE, is its own unit; if the currency of its money is unknown, that is in `<symbol>|quote`.';
comment on column ledger_entries.position is 'What the account received (positive) or gave, in units held; cash likewise, in money.';
comment on column ledger_entries.exchange is 'The other side of the trade: what the market received or gave.';
comment on column ledger_entries.fees is 'What the recipients of the fees received.';
comment on column ledger_entries.capital is 'The other side of what came from outside: openings, transfers, splits, corrections of the cash.';
comment on column ledger_entries.income is 'The other side of funding and dividends.';
comment on table ledger_balances is 'The sums of ledger_entries, a column for each ledger account. A row that does not sum to zero is refused.';
comment on table ledger_renames is 'Which units of an account became which currencies. What was booked in the unit before that position is busted and corrected in the currency.';
comment on column ledger_renames.multiplier is 'What one of the unit is in the currency.';

create function project_ledger(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- A plan made while the tables are small would keep scanning them.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_after bigint := p_from;
    v_next bigint;
    v_definitions bigint[];
    v_is_amended boolean;
    v_is_adjusted boolean;
    v_amendments jsonb;
    v_adjustments jsonb;
begin
    -- What is rare is looked for once, and gathered by statements of its own, so that most ranges pay for fills only.
    select
        array_agg(e.position order by e.position) filter (where e.type = 'InstrumentDefined'),
        coalesce(bool_or(e.type in ('FillBusted', 'FillCorrected', 'ExecutionBusted', 'ExecutionCorrected')), false),
        coalesce(bool_or(e.type = 'AccountAdjusted'), false)
    into v_definitions, v_is_amended, v_is_adjusted
    from log e
    where e.shard = p_shard
        and e.position > p_from
        and e.position <= p_to
        and (
            e.type in ('FillBusted', 'FillCorrected', 'ExecutionBusted', 'ExecutionCorrected', 'AccountAdjusted')
            or e.type = 'InstrumentDefined' and e.payload ? 'put_right'
        );

    -- Everything is posted at once, from one definition that puts right a currency to the next.
    foreach v_next in array v_definitions || (p_to + 1)
    loop
        v_amendments := null;
        if v_is_amended then
            select jsonb_agg(a)
            into v_amendments
            from (
                select
                    e.position,
                    e.aggregate_id as account,
                    p.entries_before,
                    p.sign,
                    p.payload,
                    fill.payload ->> 'base_currency' as base_currency,
                    fill.payload ->> 'quote_currency' as quote_currency,
                    base.currency as base_put_right,
                    base.multiplier as multiplier_put_right,
                    settlement.currency as settlement_put_right
                from log e
                -- A fill that does not exist has no payload, and the insert fails on a not-null constraint.
                left join lateral (
                    select s.payload
                    from log s
                    where s.shard = p_shard
                        and s.subject = e.subject
                        and s.aggregate_id = e.aggregate_id
                        and s.sequence < e.sequence
                        and s.type in ('OrderFilled', 'FillCorrected', 'ExecutionBooked', 'ExecutionCorrected')
                        and coalesce(s.payload ->> 'exec_ref_id', s.payload ->> 'exec_id') = e.payload ->> 'exec_ref_id'
                    order by s.sequence desc
                    limit 1
                ) standing on true
                left join lateral (
                    select f.position, f.payload
                    from log f
                    where f.shard = p_shard
                        and f.subject = e.subject
                        and f.aggregate_id = e.aggregate_id
                        and f.sequence < e.sequence
                        and f.type in ('OrderFilled', 'ExecutionBooked')
                        and f.payload ->> 'exec_id' = e.payload ->> 'exec_ref_id'
                    limit 1
                ) fill on true
                left join lateral (
                    select r.currency, r.multiplier
                    from ledger_renames r
                    where r.account = e.aggregate_id
                        and r.unit = e.payload ->> 'symbol'
                        and r.log_position > fill.position
                    order by r.log_position
                    limit 1
                ) base on true
                left join lateral (
                    select r.currency
                    from ledger_renames r
                    where r.account = e.aggregate_id
                        and r.unit = (e.payload ->> 'symbol') || '|quote'
                        and r.log_position > fill.position
                    order by r.log_position
                    limit 1
                ) settlement on true
                cross join lateral (values (0, -1, standing.payload), (3, 1, e.payload)) p (entries_before, sign, payload)
                where e.shard = p_shard
                    and e.position > v_after
                    and e.position < v_next
                    and e.type in ('FillBusted', 'FillCorrected', 'ExecutionBusted', 'ExecutionCorrected')
                    and (p.sign = -1 or e.type in ('FillCorrected', 'ExecutionCorrected'))
            ) a;
        end if;

        v_adjustments := null;
        if v_is_adjusted then
            select jsonb_agg(a)
            into v_adjustments
            from (
                select
                    a.position as log_position,
                    1 as entry,
                    a.account,
                    coalesce(a.currency, a.traded_currency, a.symbol) as currency,
                    a.quantity as position,
                    case a.kind when 'FEE' then -a.amount else a.amount end as cash,
                    0 as exchange,
                    case a.kind when 'FEE' then a.amount else 0 end as fees,
                    -a.quantity - case when a.kind in ('OPENING', 'TRANSFER', 'CASH') then a.amount else 0 end as capital,
                    case when a.kind in ('FUNDING', 'DIVIDEND') then -a.amount else 0 end as income
                from (
                    select
                        e.position,
                        e.aggregate_id as account,
                        e.payload ->> 'kind' as kind,
                        e.payload ->> 'symbol' as symbol,
                        e.payload ->> 'currency' as currency,
                        t.currency as traded_currency,
                        coalesce((e.payload ->> 'amount')::numeric, 0) as amount,
                        coalesce((e.payload ->> 'quantity')::numeric, 0)
                            * case when t.currency is null then 1 else coalesce((e.payload ->> 'multiplier')::numeric, 1) end
                            as quantity
                    from log e
                    cross join lateral (
                        select case
                            when e.payload ->> 'instrument_kind' is distinct from 'INVERSE' then e.payload ->> 'base_currency'
                        end as currency
                    ) t
                    where e.shard = p_shard
                        and e.position > v_after
                        and e.position < v_next
                        and e.type = 'AccountAdjusted'
                    offset 0
                ) a
            ) a;
        end if;

        with posting as (
            select
                e.position,
                e.aggregate_id as account,
                0 as entries_before,
                1 as sign,
                e.payload,
                e.payload ->> 'base_currency' as base_currency,
                e.payload ->> 'quote_currency' as quote_currency,
                null as base_put_right,
                null::numeric as multiplier_put_right,
                null as settlement_put_right
            from log e
            where e.shard = p_shard
                and e.position > v_after
                and e.position < v_next
                and e.type in ('OrderFilled', 'ExecutionBooked')
            union all
            select *
            from jsonb_to_recordset(v_amendments) as a (
                position bigint, account text, entries_before integer, sign integer, payload jsonb, base_currency text,
                quote_currency text, base_put_right text, multiplier_put_right numeric, settlement_put_right text
            )
        ),
        said as (
            select
                p.position,
                p.account,
                p.entries_before,
                p.sign,
                p.payload ->> 'side' as side,
                (p.payload ->> 'last_qty')::numeric as last_qty,
                trading.unit_cost(
                    (p.payload ->> 'last_px')::numeric, (p.payload ->> 'multiplier')::numeric, p.payload ->> 'instrument_kind'
                ) as unit_cost,
                (p.payload ->> 'gross_amount')::numeric as gross_amount,
                (p.payload ->> 'multiplier')::numeric as multiplier,
                coalesce(p.sign * (p.payload ->> 'fee')::numeric, 0) as fee,
                p.payload ->> 'fee_currency' as fee_currency,
                p.payload ->> 'instrument_kind' as kind,
                p.payload ->> 'symbol' as symbol,
                p.payload ->> 'base_currency' as fee_base_currency,
                p.base_currency,
                p.quote_currency,
                p.base_put_right,
                p.multiplier_put_right,
                p.settlement_put_right
            from posting p
            offset 0 -- so that no expression above is evaluated twice
        ),
        settled as (
            select
                s.*,
                case when s.kind is distinct from 'INVERSE' then s.base_currency end as traded_currency,
                case s.kind when 'INVERSE' then s.base_currency else s.quote_currency end as settlement_currency,
                case s.side when 'BUY' then s.sign else -s.sign end * s.last_qty as quantity,
                s.sign * trading.fill_value(s.side, s.last_qty, s.unit_cost, s.gross_amount, 0, s.kind) as money,
                trading.fee_in_kind(s.fee, s.fee_currency, s.fee_base_currency, s.kind) as fee_in_kind
            from said s
            offset 0
        ),
        priced as (
            select
                s.position,
                s.account,
                s.entries_before,
                coalesce(s.traded_currency, s.base_put_right, s.symbol) as base,
                coalesce(s.settlement_currency, s.settlement_put_right, s.symbol || '|quote') as settlement,
                case
                    when s.traded_currency is null then s.quantity * coalesce(s.multiplier_put_right, 1)
                    when s.multiplier is null then s.quantity
                    else s.quantity * s.multiplier
                end as quantity,
                s.money,
                s.fee,
                s.fee_currency,
                s.fee_in_kind,
                case when s.fee_currency = s.settlement_currency and s.fee_in_kind = 0 then s.fee else 0 end as settled_fee
            from settled s
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
                e.fees,
                0 as capital,
                0 as income
            from priced p
            cross join lateral (
                values
                    (1, p.base, p.quantity - p.fee_in_kind, 0, -p.quantity, p.fee_in_kind),
                    (2, p.settlement, 0, -p.money - p.settled_fee, p.money, p.settled_fee),
                    (3, p.fee_currency, 0, -p.fee, 0, p.fee)
            ) e (entry, currency, position, cash, exchange, fees)
            where e.entry < 3
                or p.fee <> 0 and p.fee_in_kind = 0 and p.settled_fee = 0
            union all
            select *
            from jsonb_to_recordset(v_adjustments) as a (
                log_position bigint, entry integer, account text, currency text, position numeric, cash numeric,
                exchange numeric, fees numeric, capital numeric, income numeric
            )
        ),
        posted as (
            insert into ledger_entries
            select
                p_shard, e.log_position, e.entry, e.account, e.currency, e.position, e.cash, e.exchange, e.fees,
                e.capital, e.income
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
                eventstore.total(e.fees) as fees,
                eventstore.total(e.capital) as capital,
                eventstore.total(e.income) as income
            from entry e
            group by e.account, e.currency
        )
        insert into ledger_balances as b
        select
            p_shard, c.account, c.currency, c.position, c.cash, c.exchange, c.fees, c.capital, c.income
        from change c
        order by c.account, c.currency
        on conflict (account, currency) do update set
            position = b.position + excluded.position,
            cash = b.cash + excluded.cash,
            exchange = b.exchange + excluded.exchange,
            fees = b.fees + excluded.fees,
            capital = b.capital + excluded.capital,
            income = b.income + excluded.income;

        exit when v_next > p_to;
        v_after := v_next;

        with renamed as (
            insert into ledger_renames
            select
                p_shard,
                e.aggregate_id,
                r.unit,
                e.position,
                r.currency,
                r.multiplier
            from log e
            cross join lateral (
                select
                    e.payload ->> 'symbol' as symbol,
                    e.payload ->> 'base_currency' as base_currency,
                    e.payload ->> 'quote_currency' as quote_currency,
                    coalesce(e.payload ->> 'kind' = 'INVERSE', false) as is_inverse
            ) d
            cross join lateral (
                values
                    (
                        e.payload -> 'put_right' ? 'base_currency' and not d.is_inverse,
                        d.symbol, d.base_currency, (e.payload ->> 'multiplier')::numeric
                    ),
                    (
                        e.payload -> 'put_right' ? case when d.is_inverse then 'base_currency' else 'quote_currency' end,
                        d.symbol || '|quote', case when d.is_inverse then d.base_currency else d.quote_currency end, 1
                    )
            ) r (is_put_right, unit, currency, multiplier)
            where e.shard = p_shard
                and e.position = v_next
                and r.is_put_right
            returning *
        ),
        entry as materialized (
            select
                r.log_position,
                case when r.unit like '%|quote' then 2 else 0 end + m.entry as entry,
                r.account,
                m.currency,
                b.position * m.factor as position,
                b.cash * m.factor as cash,
                b.exchange * m.factor as exchange,
                b.fees * m.factor as fees,
                b.capital * m.factor as capital,
                b.income * m.factor as income
            from renamed r
            join ledger_balances b on b.account = r.account and b.currency = r.unit
            cross join lateral (values (1, r.unit, -1), (2, r.currency, r.multiplier)) m (entry, currency, factor)
            where (b.position, b.cash, b.exchange, b.fees, b.capital, b.income) <> (0, 0, 0, 0, 0, 0)
        ),
        posted as (
            insert into ledger_entries
            select
                p_shard, e.log_position, e.entry, e.account, e.currency, e.position, e.cash, e.exchange, e.fees,
                e.capital, e.income
            from entry e
            order by e.entry
        ),
        change as (
            select
                e.account,
                e.currency,
                sum(e.position) as position,
                sum(e.cash) as cash,
                sum(e.exchange) as exchange,
                sum(e.fees) as fees,
                sum(e.capital) as capital,
                sum(e.income) as income
            from entry e
            group by e.account, e.currency
        )
        insert into ledger_balances as b
        select
            p_shard, c.account, c.currency, c.position, c.cash, c.exchange, c.fees, c.capital, c.income
        from change c
        order by c.currency
        on conflict (account, currency) do update set
            position = b.position + excluded.position,
            cash = b.cash + excluded.cash,
            exchange = b.exchange + excluded.exchange,
            fees = b.fees + excluded.fees,
            capital = b.capital + excluded.capital,
            income = b.income + excluded.income;
    end loop;
end
$$;
