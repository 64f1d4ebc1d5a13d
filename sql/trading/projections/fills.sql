-- Aggregate types: order_book
-- Folds: OrderFilled, FillBusted, FillCorrected, ExecutionBooked, ExecutionBusted, ExecutionCorrected,
--   FillConflictDetected, UnmatchedExecutionRecorded, OrderSuspended, OrderDoneForDay, OrderRestated,
--   OrderCancelRejected, OrderReplaced, OrderReplaceRejected, AccountAdjusted, PriceRecorded
-- Ignores: OrderBookCreated, OrderCreated, OrderDenied, OrderSubmitted, OrderAccepted, OrderRejected, OrderCanceled,
--   OrderExpired, OrderCancelRequested, OrderCancelSubmitted, OrderCancelPending, OrderReplaceRequested,
--   OrderReplaceSubmitted, OrderReplaceDenied, OrderReplacePending, InstrumentDefined, RiskLimitsSet,
--   TradingStateChanged, OrderInDoubt, OrderDoubtResolved, PositionMismatchDetected, PositionMismatchResolved
--
-- Every fill, one row per OrderFilled or ExecutionBooked: by account, strategy and symbol. And every report that somebody
-- has to look at, because it was not applied, or told a time too far ahead of its receipt.
--
-- A corrected fill shows its current values and its original ones; a busted fill stays, marked. Corrections and busts are
-- rare, and the log finds their fill by its subject, so that no index has to be maintained for them.

create table fills (
    shard integer not null,
    position bigint not null,
    account text not null,
    order_id text,
    strategy_id text,
    kind text,
    symbol text not null,
    side text not null,
    exec_id text not null,
    instrument_kind text not null,
    multiplier numeric not null,
    currency text,
    last_qty numeric not null,
    last_px numeric not null,
    gross_amount numeric,
    money numeric not null,
    fee numeric,
    fee_currency text,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    is_busted boolean not null default false,
    changed_position bigint,
    original_qty numeric,
    original_px numeric,
    original_gross_amount numeric,
    original_fee numeric,
    original_fee_currency text,
    primary key (shard, position)
);

create table execution_exceptions (
    shard integer not null,
    position bigint not null,
    account text not null,
    type text not null,
    problem text not null,
    order_id text,
    exec_type text,
    kind text,
    symbol text,
    side text,
    exec_id text,
    exec_ref_id text,
    last_qty numeric,
    last_px numeric,
    gross_amount numeric,
    fee numeric,
    fee_currency text,
    quantity numeric,
    limit_price numeric,
    stop_price numeric,
    request_id text,
    reason text,
    broker_order_id text,
    transact_time timestamptz,
    counted_at timestamptz,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    primary key (shard, position)
);

create index fills_by_account on fills (account, shard, position);
create index fills_by_strategy on fills (strategy_id, shard, position);
create index fills_by_symbol on fills (symbol, shard, position);
create index execution_exceptions_by_account on execution_exceptions (account, position);

comment on table fills is 'Fills in the order of the log. Disposable: `foldbook projections rebuild fills`.';
comment on column fills.position is 'Position of the OrderFilled or ExecutionBooked.';
comment on column fills.order_id is 'Null: no order of ours traded, and kind says what did; likewise the strategy.';
comment on column fills.kind is 'FOREIGN_ORDER, LIQUIDATION, ASSIGNMENT, EXERCISE or SETTLEMENT; null: an order of ours.';
comment on column fills.exec_id is 'The broker''s name for the fill.';
comment on column fills.instrument_kind is 'What the symbol was when it traded: SPOT, FUTURE, PERPETUAL, OPTION or INVERSE.';
comment on column fills.currency is 'What money is in: the quote currency, for an INVERSE contract the base currency; null: not known.';
comment on column fills.last_qty is 'As last corrected; likewise the price, the gross amount, the money and the fee.';
comment on column fills.gross_amount is 'The money as the broker rounded it; null: not told.';
comment on column fills.money is 'What was paid or received: the gross amount, else last_qty * last_px * multiplier, for an INVERSE contract last_qty * (multiplier / last_px).';
comment on column fills.fee is 'What the broker charged, in fee_currency; negative for a rebate.';
comment on column fills.occurred_at is 'Business time: the venue''s clock.';
comment on column fills.is_busted is 'The fill was busted: it does not count.';
comment on column fills.changed_position is 'Position of the last FillCorrected or of the FillBusted; null: the fill is as it was reported.';
comment on column fills.original_qty is 'As first reported; the original columns are null unless the fill was corrected.';
comment on table execution_exceptions is 'Reports for a person to look at, because they were not applied or told a time that cannot be right: one row per event.';
comment on column execution_exceptions.type is 'The type of the event.';
comment on column execution_exceptions.problem is 'unmatched: what it refers to is not known; conflict: it contradicts an earlier report; time-ahead: it told a time too far ahead of its receipt.';
comment on column execution_exceptions.order_id is 'Null: it is about no order of ours.';
comment on column execution_exceptions.exec_type is 'What was reported; null: the event''s type says so.';
comment on column execution_exceptions.kind is 'What an execution without an order of ours was, or an adjustment.';
comment on column execution_exceptions.exec_ref_id is 'The execution that a bust or a correction names.';
comment on column execution_exceptions.quantity is 'The order''s quantity that it told; likewise the prices. Of an adjustment: what it adds to the position.';
comment on column execution_exceptions.transact_time is 'Business time as it was told; null: it was not told.';
comment on column execution_exceptions.counted_at is 'The time that decides instead; null: transact_time.';

create function project_fills(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- A plan made while the log is small would keep scanning it.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    insert into fills
    select
        e.shard,
        e.position,
        e.aggregate_id,
        e.payload ->> 'order_id',
        e.payload ->> 'strategy_id',
        e.payload ->> 'kind',
        e.payload ->> 'symbol',
        e.payload ->> 'side',
        e.payload ->> 'exec_id',
        coalesce(e.payload ->> 'instrument_kind', 'SPOT'),
        coalesce((e.payload ->> 'multiplier')::numeric, 1),
        case e.payload ->> 'instrument_kind'
            when 'INVERSE' then e.payload ->> 'base_currency'
            else e.payload ->> 'quote_currency'
        end,
        (e.payload ->> 'last_qty')::numeric,
        (e.payload ->> 'last_px')::numeric,
        (e.payload ->> 'gross_amount')::numeric,
        trading.fill_money(
            (e.payload ->> 'last_qty')::numeric,
            (e.payload ->> 'last_px')::numeric,
            (e.payload ->> 'multiplier')::numeric,
            (e.payload ->> 'gross_amount')::numeric,
            e.payload ->> 'instrument_kind'
        ),
        (e.payload ->> 'fee')::numeric,
        e.payload ->> 'fee_currency',
        e.occurred_at,
        e.recorded_at
    from log e
    where e.shard = p_shard
        and e.position > p_from
        and e.position <= p_to
        and e.type in ('OrderFilled', 'ExecutionBooked')
    order by e.position;

    with special as materialized (
        select
            e.position,
            e.aggregate_id as account,
            e.type,
            e.subject,
            e.payload,
            e.occurred_at,
            e.recorded_at
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and (
                e.type in (
                    'FillBusted', 'FillCorrected', 'ExecutionBusted', 'ExecutionCorrected', 'FillConflictDetected',
                    'UnmatchedExecutionRecorded'
                )
                or e.type in (
                    'OrderFilled', 'ExecutionBooked', 'OrderSuspended', 'OrderDoneForDay', 'OrderRestated',
                    'OrderCancelRejected', 'OrderReplaced', 'OrderReplaceRejected', 'AccountAdjusted', 'PriceRecorded'
                )
                and e.payload ?& array['transact_time', 'counted_at']
            )
    ),
    exception as (
        insert into execution_exceptions
        select
            p_shard,
            s.position,
            s.account,
            s.type,
            case s.type
                when 'UnmatchedExecutionRecorded' then 'unmatched'
                when 'FillConflictDetected' then 'conflict'
                else 'time-ahead'
            end,
            s.payload ->> 'order_id',
            s.payload ->> 'exec_type',
            s.payload ->> 'kind',
            s.payload ->> 'symbol',
            s.payload ->> 'side',
            s.payload ->> 'exec_id',
            s.payload ->> 'exec_ref_id',
            (s.payload ->> 'last_qty')::numeric,
            (s.payload ->> 'last_px')::numeric,
            (s.payload ->> 'gross_amount')::numeric,
            (s.payload ->> 'fee')::numeric,
            s.payload ->> 'fee_currency',
            (s.payload ->> 'quantity')::numeric,
            (s.payload ->> 'limit_price')::numeric,
            (s.payload ->> 'stop_price')::numeric,
            s.payload ->> 'request_id',
            s.payload ->> 'reason',
            s.payload ->> 'broker_order_id',
            (s.payload ->> 'transact_time')::timestamptz,
            (s.payload ->> 'counted_at')::timestamptz,
            s.occurred_at,
            s.recorded_at
        from special s
        where s.type in ('FillConflictDetected', 'UnmatchedExecutionRecorded')
            or s.payload ?& array['transact_time', 'counted_at']
    ),
    change as (
        select
            s.account,
            s.subject,
            s.payload ->> 'exec_ref_id' as exec_id,
            bool_or(s.type in ('FillBusted', 'ExecutionBusted')) as is_busted,
            max(s.position) as changed_position,
            max(s.position) filter (where s.type in ('FillCorrected', 'ExecutionCorrected')) as corrected_position
        from special s
        where s.type in ('FillBusted', 'FillCorrected', 'ExecutionBusted', 'ExecutionCorrected')
        group by 1, 2, 3
    ),
    changed as materialized (
        select
            c.*,
            (
                select e.position
                from log e
                where e.shard = p_shard
                    and e.subject = c.subject
                    and e.aggregate_id = c.account
                    and e.type in ('OrderFilled', 'ExecutionBooked')
                    and e.payload ->> 'exec_id' = c.exec_id
                order by e.position
                limit 1
            ) as position,
            (
                select e.payload
                from log e
                where e.shard = p_shard
                    and e.position = c.corrected_position
            ) as correction
        from change c
    )
    update fills f
    set
        is_busted = f.is_busted or c.is_busted,
        changed_position = c.changed_position,
        original_qty = case when c.correction is null then f.original_qty else coalesce(f.original_qty, f.last_qty) end,
        original_px = case when c.correction is null then f.original_px else coalesce(f.original_px, f.last_px) end,
        original_gross_amount = case
            when c.correction is null or f.original_qty is not null then f.original_gross_amount
            else f.gross_amount
        end,
        original_fee = case
            when c.correction is null or f.original_qty is not null then f.original_fee
            else f.fee
        end,
        original_fee_currency = case
            when c.correction is null or f.original_qty is not null then f.original_fee_currency
            else f.fee_currency
        end,
        last_qty = coalesce((c.correction ->> 'last_qty')::numeric, f.last_qty),
        last_px = coalesce((c.correction ->> 'last_px')::numeric, f.last_px),
        gross_amount = case
            when c.correction is null then f.gross_amount
            else (c.correction ->> 'gross_amount')::numeric
        end,
        money = case
            when c.correction is null then f.money
            else trading.fill_money(
                (c.correction ->> 'last_qty')::numeric,
                (c.correction ->> 'last_px')::numeric,
                f.multiplier,
                (c.correction ->> 'gross_amount')::numeric,
                f.instrument_kind
            )
        end,
        fee = case when c.correction is null then f.fee else (c.correction ->> 'fee')::numeric end,
        fee_currency = case when c.correction is null then f.fee_currency else c.correction ->> 'fee_currency' end
    from changed c
    where f.shard = p_shard
        and f.position = c.position;
end
$$;
