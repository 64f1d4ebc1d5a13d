-- Aggregate types: order_book
-- Folds: OrderFilled, FillBusted, FillCorrected, FillConflictDetected, UnmatchedExecutionRecorded
-- Ignores: OrderBookCreated, OrderCreated, OrderDenied, OrderSubmitted, OrderAccepted, OrderRejected, OrderCanceled,
--   OrderExpired, OrderSuspended, OrderDoneForDay, OrderRestated, OrderCancelRequested,
--   OrderCancelPending, OrderCancelRejected, OrderReplaceRequested, OrderReplaceDenied, OrderReplacePending,
--   OrderReplaced, OrderReplaceRejected, InstrumentDefined, RiskLimitsSet, TradingStateChanged, PriceRecorded
--
-- Every fill, one row per OrderFilled: by account, strategy and symbol. And every execution report that was not applied.
--
-- A corrected fill shows its current values and its original ones; a busted fill stays, marked. Corrections and busts are
-- rare, and the log finds their fill by its order, so that no index has to be maintained for them.

create table fills (
    shard integer not null,
    position bigint not null,
    account text not null,
    order_id text not null,
    strategy_id text not null,
    symbol text not null,
    side text not null,
    exec_id text not null,
    last_qty numeric not null,
    last_px numeric not null,
    fee numeric,
    fee_currency text,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    is_busted boolean not null default false,
    changed_position bigint,
    original_qty numeric,
    original_px numeric,
    original_fee numeric,
    original_fee_currency text,
    primary key (shard, position)
);

create table execution_exceptions (
    shard integer not null,
    position bigint not null,
    account text not null,
    type text not null,
    order_id text not null,
    exec_type text not null,
    exec_id text,
    exec_ref_id text,
    last_qty numeric,
    last_px numeric,
    fee numeric,
    fee_currency text,
    reason text,
    broker_order_id text,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    primary key (shard, position)
);

create index fills_by_account on fills (account, shard, position);
create index fills_by_strategy on fills (strategy_id, shard, position);
create index fills_by_symbol on fills (symbol, shard, position);
create index execution_exceptions_by_account on execution_exceptions (account, position);

comment on table fills is 'Fills in the order of the log. Disposable: `foldbook projections rebuild fills`.';
comment on column fills.position is 'Position of the OrderFilled.';
comment on column fills.exec_id is 'The broker''s name for the fill.';
comment on column fills.last_qty is 'As last corrected; likewise the price and the fee.';
comment on column fills.fee is 'What the broker charged, in fee_currency; negative for a rebate.';
comment on column fills.occurred_at is 'Business time: the venue''s clock.';
comment on column fills.is_busted is 'The fill was busted: it does not count.';
comment on column fills.changed_position is 'Position of the last FillCorrected or of the FillBusted; null: the fill is as it was reported.';
comment on column fills.original_qty is 'As first reported; the original columns are null unless the fill was corrected.';
comment on table execution_exceptions is 'Executions that were reported but not applied, for a person to look at: one row per event.';
comment on column execution_exceptions.type is 'UnmatchedExecutionRecorded or FillConflictDetected.';
comment on column execution_exceptions.exec_ref_id is 'The execution that a bust or a correction names.';

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
        e.subject,
        e.payload ->> 'strategy_id',
        e.payload ->> 'symbol',
        e.payload ->> 'side',
        e.payload ->> 'exec_id',
        (e.payload ->> 'last_qty')::numeric,
        (e.payload ->> 'last_px')::numeric,
        (e.payload ->> 'fee')::numeric,
        e.payload ->> 'fee_currency',
        e.occurred_at,
        e.recorded_at
    from log e
    where e.shard = p_shard
        and e.position > p_from
        and e.position <= p_to
        and e.type = 'OrderFilled'
    order by e.position;

    with special as materialized (
        select
            e.position,
            e.aggregate_id as account,
            e.type,
            e.subject as order_id,
            e.payload,
            e.occurred_at,
            e.recorded_at
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and e.type in ('FillBusted', 'FillCorrected', 'FillConflictDetected', 'UnmatchedExecutionRecorded')
    ),
    exception as (
        insert into execution_exceptions
        select
            p_shard,
            s.position,
            s.account,
            s.type,
            s.order_id,
            s.payload ->> 'exec_type',
            s.payload ->> 'exec_id',
            s.payload ->> 'exec_ref_id',
            (s.payload ->> 'last_qty')::numeric,
            (s.payload ->> 'last_px')::numeric,
            (s.payload ->> 'fee')::numeric,
            s.payload ->> 'fee_currency',
            s.payload ->> 'reason',
            s.payload ->> 'broker_order_id',
            s.occurred_at,
            s.recorded_at
        from special s
        where s.type in ('FillConflictDetected', 'UnmatchedExecutionRecorded')
    ),
    change as (
        select
            s.account,
            s.order_id,
            s.payload ->> 'exec_ref_id' as exec_id,
            bool_or(s.type = 'FillBusted') as is_busted,
            max(s.position) as changed_position,
            max(s.position) filter (where s.type = 'FillCorrected') as corrected_position
        from special s
        where s.type in ('FillBusted', 'FillCorrected')
        group by 1, 2, 3
    ),
    changed as materialized (
        select
            c.*,
            (
                select e.position
                from log e
                where e.shard = p_shard
                    and e.subject = c.order_id
                    and e.aggregate_id = c.account
                    and e.type = 'OrderFilled'
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
        fee = case when c.correction is null then f.fee else (c.correction ->> 'fee')::numeric end,
        fee_currency = case when c.correction is null then f.fee_currency else c.correction ->> 'fee_currency' end
    from changed c
    where f.shard = p_shard
        and f.position = c.position;
end
$$;
