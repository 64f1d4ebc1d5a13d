-- Aggregate types: order_book
-- Folds: InstrumentDefined, RiskLimitsSet, TradingStateChanged, PriceRecorded
-- Ignores: OrderBookCreated, OrderCreated, OrderDenied, OrderSubmitted, OrderAccepted, OrderRejected, OrderCanceled,
--   OrderExpired, OrderSuspended, OrderDoneForDay, OrderRestated, OrderCancelRequested, OrderCancelSubmitted,
--   OrderCancelPending, OrderCancelRejected, OrderReplaceRequested, OrderReplaceSubmitted, OrderReplaceDenied,
--   OrderReplacePending, OrderReplaced, OrderReplaceRejected, OrderInDoubt, OrderDoubtResolved, OrderFilled,
--   FillBusted, FillCorrected, ExecutionBooked, ExecutionBusted, ExecutionCorrected, FillConflictDetected,
--   UnmatchedExecutionRecorded, AccountAdjusted, PositionMismatchDetected, PositionMismatchResolved
--
-- The settings of an account and what it knows about its symbols: the trading state, the limits, the instruments, the
-- last prices. The latest of each applies.
--
-- Prices may come by the thousand a second. So one pass over a range finds the last event about each key. Only that one
-- is read, and written to a row that stays on its page (HOT), because no indexed column ever changes.

create table account_settings (
    shard integer not null,
    account text not null,
    trading_state text not null,
    reason text,
    changed_at timestamptz not null,
    position bigint not null,
    primary key (account)
) with (fillfactor = 70);

create table risk_limits (
    shard integer not null,
    account text not null,
    symbol text not null,
    limits jsonb not null,
    changed_at timestamptz not null,
    position bigint not null,
    primary key (account, symbol)
) with (fillfactor = 70);

create table instruments (
    shard integer not null,
    account text not null,
    symbol text not null,
    kind text not null,
    tick_size numeric,
    lot_size numeric,
    multiplier numeric not null,
    base_currency text,
    quote_currency text,
    expiry timestamptz,
    allows_negative_prices boolean not null,
    changed_at timestamptz not null,
    position bigint not null,
    primary key (account, symbol)
) with (fillfactor = 70);

create table prices (
    shard integer not null,
    account text not null,
    symbol text not null,
    price numeric not null,
    occurred_at timestamptz not null,
    counted_at timestamptz not null,
    recorded_at timestamptz not null,
    position bigint not null,
    primary key (account, symbol)
) with (fillfactor = 45);

comment on table account_settings is 'Trading states of the accounts that ever got one; any other account is ACTIVE. Disposable: `foldbook projections rebuild settings`.';
comment on column account_settings.trading_state is 'ACTIVE, REDUCING or HALTED.';
comment on column account_settings.reason is 'The reason that was given for the change.';
comment on column account_settings.position is 'Position of the TradingStateChanged.';
comment on table risk_limits is 'The limits of an account, and of each symbol that has its own.';
comment on column risk_limits.symbol is 'Empty for the limits of the account.';
comment on column risk_limits.limits is 'As they were set, exact amounts as text; what is absent is not limited.';
comment on column risk_limits.position is 'Position of the RiskLimitsSet.';
comment on table instruments is 'The symbols of an account, as it defined them.';
comment on column instruments.kind is 'SPOT, FUTURE, PERPETUAL, OPTION or INVERSE.';
comment on column instruments.tick_size is 'Prices are multiples of it; null: any price.';
comment on column instruments.lot_size is 'Quantities are multiples of it; null: any quantity.';
comment on column instruments.multiplier is 'Units of the quote currency for one unit of quantity at a price of 1.';
comment on column instruments.expiry is 'When it ends to trade; null: never, or not known.';
comment on column instruments.position is 'Position of the InstrumentDefined.';
comment on table prices is 'The last price of each symbol that was recorded for the account.';
comment on column prices.occurred_at is 'Business time: the market data''s clock, as it was told; counted_at, if it was not told.';
comment on column prices.counted_at is 'The time that decides how old the price is: occurred_at, or when it was received, if occurred_at was not told or was too far ahead of that.';
comment on column prices.position is 'Position of the PriceRecorded.';

create function project_settings(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- Rows are found by their keys: a plan made while the tables are small would keep scanning or hashing them.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
as $$
begin
    with last_event as materialized (
        select
            e.type,
            e.aggregate_id as account,
            coalesce(e.payload ->> 'symbol', '') as symbol,
            max(e.position) as position
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and e.type in ('PriceRecorded', 'TradingStateChanged', 'RiskLimitsSet', 'InstrumentDefined')
        group by 1, 2, 3
    ),
    latest as materialized (
        select
            l.type,
            l.account,
            l.symbol,
            l.position,
            e.payload,
            e.occurred_at,
            e.recorded_at
        from last_event l
        -- The limit makes it a lookup by key.
        cross join lateral (
            select *
            from log e
            where e.shard = p_shard
                and e.position = l.position
            limit 1
        ) e
    ),
    state as (
        insert into account_settings
        select p_shard, l.account, l.payload ->> 'state', l.payload ->> 'reason', l.occurred_at, l.position
        from latest l
        where l.type = 'TradingStateChanged'
        on conflict (account) do update set
            trading_state = excluded.trading_state,
            reason = excluded.reason,
            changed_at = excluded.changed_at,
            position = excluded.position
    ),
    limits as (
        insert into risk_limits
        select p_shard, l.account, l.symbol, l.payload -> 'limits', l.occurred_at, l.position
        from latest l
        where l.type = 'RiskLimitsSet'
        order by l.account, l.symbol
        on conflict (account, symbol) do update set
            limits = excluded.limits,
            changed_at = excluded.changed_at,
            position = excluded.position
    ),
    instrument as (
        insert into instruments
        select
            p_shard,
            l.account,
            l.symbol,
            coalesce(l.payload ->> 'kind', 'SPOT'),
            (l.payload ->> 'tick_size')::numeric,
            (l.payload ->> 'lot_size')::numeric,
            (l.payload ->> 'multiplier')::numeric,
            l.payload ->> 'base_currency',
            l.payload ->> 'quote_currency',
            (l.payload ->> 'expiry')::timestamptz,
            coalesce((l.payload ->> 'allows_negative_prices')::boolean, false),
            l.occurred_at,
            l.position
        from latest l
        where l.type = 'InstrumentDefined'
        order by l.account, l.symbol
        on conflict (account, symbol) do update set
            kind = excluded.kind,
            tick_size = excluded.tick_size,
            lot_size = excluded.lot_size,
            multiplier = excluded.multiplier,
            base_currency = excluded.base_currency,
            quote_currency = excluded.quote_currency,
            expiry = excluded.expiry,
            allows_negative_prices = excluded.allows_negative_prices,
            changed_at = excluded.changed_at,
            position = excluded.position
    )
    insert into prices
    select
        p_shard, l.account, l.symbol, (l.payload ->> 'price')::numeric, l.occurred_at,
        coalesce((l.payload ->> 'counted_at')::timestamptz, l.occurred_at), l.recorded_at, l.position
    from latest l
    where l.type = 'PriceRecorded'
    order by l.account, l.symbol
    on conflict (account, symbol) do update set
        price = excluded.price,
        occurred_at = excluded.occurred_at,
        counted_at = excluded.counted_at,
        recorded_at = excluded.recorded_at,
        position = excluded.position;
end
$$;
