-- Aggregate types: order_book
-- Folds: OrderBookCreated, OrderCreated, OrderDenied, OrderSubmitted, OrderAccepted, OrderRejected, OrderCanceled,
--   OrderExpired, OrderSuspended, OrderDoneForDay, OrderRestated, OrderCancelRequested, OrderCancelSubmitted,
--   OrderCancelPending, OrderCancelRejected, OrderReplaceRequested, OrderReplaceSubmitted, OrderReplaceDenied,
--   OrderReplacePending, OrderReplaced, OrderReplaceRejected, OrderInDoubt, OrderDoubtResolved, OrderFilled,
--   FillBusted, FillCorrected
-- Ignores: ExecutionBooked, ExecutionBusted, ExecutionCorrected, FillConflictDetected, UnmatchedExecutionRecorded,
--   AccountAdjusted, PositionMismatchDetected, PositionMismatchResolved, InstrumentDefined, RiskLimitsSet,
--   TradingStateChanged, PriceRecorded
--
-- Every order: its terms, how far it has traded, its status. And every order book, whose open orders are its pending
-- orders.
--
-- An order's row is its last event, which carries the order's state, plus the fields that only OrderCreated or
-- OrderDenied has. So a range needs one pass that finds the last event of each order, and one write per order. The audit
-- checks the states that events carry: audit.order_state_differences.

create table order_books (
    shard integer not null,
    account text not null,
    user_name text not null,
    exchange text not null,
    broker text not null,
    opened_at timestamptz not null,
    last_position bigint not null,
    sequence bigint not null,
    primary key (account)
) with (fillfactor = 50);

create table orders (
    shard integer not null,
    account text not null,
    order_id text not null,
    strategy_id text not null,
    symbol text not null,
    side text not null,
    order_type text not null,
    time_in_force text not null,
    expire_at timestamptz,
    post_only boolean not null,
    reduce_only boolean not null,
    trailing_offset numeric,
    display_quantity numeric,
    cash_quantity numeric,
    group_kind text,
    group_id text,
    quantity numeric not null,
    limit_price numeric,
    stop_price numeric,
    working_state text not null,
    is_open boolean not null,
    pending_request text not null,
    requested_quantity numeric,
    requested_limit_price numeric,
    requested_stop_price numeric,
    cum_qty numeric not null,
    cum_cost numeric not null,
    leaves_qty numeric not null,
    leaves_cash numeric not null,
    overfill_qty numeric not null,
    fees jsonb not null,
    broker_order_id text,
    reason text,
    doubts jsonb,
    denied_limit text,
    denied_observed text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    created_position bigint not null,
    last_position bigint not null,
    sequence bigint not null,
    primary key (account, order_id)
) with (fillfactor = 80);

-- No indexed column changes while an order works, so an update stays on its page (HOT). Only the end of an order changes
-- one, which removes it from orders_open.
create index orders_by_creation on orders (account, created_position);
create index orders_open on orders (account, created_position) where is_open;
-- Doubts are rare, and are looked for in all accounts.
create index orders_in_doubt on orders (account, created_position) where doubts is not null;

comment on table order_books is 'Order books, one per account. Disposable: `foldbook projections rebuild orders`.';
comment on column order_books.opened_at is 'Business time of OrderBookCreated.';
comment on column order_books.last_position is 'Position of the book''s last event, whatever it was about.';
comment on column order_books.sequence is 'Sequence of the book''s last event.';

comment on table orders is 'Orders, each as its last event left it. Disposable: `foldbook projections rebuild orders`.';
comment on column orders.post_only is 'It must not trade at once.';
comment on column orders.reduce_only is 'It may only make the position smaller.';
comment on column orders.trailing_offset is 'The stop follows the market at this distance.';
comment on column orders.display_quantity is 'How much of it the market sees; null: all.';
comment on column orders.cash_quantity is 'The money to trade for, in the quote currency, instead of a quantity.';
comment on column orders.group_kind is 'What the orders of its group do to each other: OCO or BRACKET; null: it is in no group.';
comment on column orders.quantity is 'OrderQty: as placed, or as last replaced or restated; likewise the prices. 0: it has a cash_quantity, and the broker has not told how much that is.';
comment on column orders.working_state is 'FIX OrdStatus without what is pending; see docs/domain.md.';
comment on column orders.is_open is 'It may still trade: leaves_qty or leaves_cash is not 0.';
comment on column orders.pending_request is 'What was requested of the broker and not answered yet: NONE, CANCEL or REPLACE.';
comment on column orders.requested_quantity is 'What the latest pending replace requests; likewise the prices. Null: no replace is pending, or its terms are not known.';
comment on column orders.cum_cost is 'Exact sum of last_qty * last_px; the average price is cum_cost / cum_qty.';
comment on column orders.leaves_qty is 'quantity - cum_qty while it may trade, else 0: it is filled, or a report or, for a day order, the end of the day has ended it.';
comment on column orders.leaves_cash is 'cash_quantity - cum_cost while it may trade and its quantity is not known, else 0.';
comment on column orders.overfill_qty is 'By how much cum_qty exceeds quantity.';
comment on column orders.fees is 'Sum of fees by currency: {"USDT": "1.25"}.';
comment on column orders.reason is 'Why it ended: what the broker said, or the code of the risk check that denied it.';
comment on column orders.doubts is 'The requests about it of which nobody knows what became of them; null: none.';
comment on column orders.denied_limit is 'What the risk check that denied it allows; null: it was not denied.';
comment on column orders.denied_observed is 'What that check found instead.';
comment on column orders.created_at is 'Business time of OrderCreated.';
comment on column orders.updated_at is 'Latest business time of the order''s events.';
comment on column orders.last_position is 'Position of the order''s last event.';
comment on column orders.sequence is 'Sequence of the order''s last event.';

create function project_orders(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- A plan made while the table is small would keep scanning it.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_known bigint;
    v_updated bigint;
begin
    with touched as materialized (
        select
            e.aggregate_id as account,
            max(e.occurred_at) filter (where e.type = 'OrderBookCreated') as opened_at,
            max(e.position) as last_position,
            max(e.sequence) as sequence
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
        group by e.aggregate_id
    ),
    opened as (
        insert into order_books
        select
            p_shard, t.account, split_part(t.account, '/', 1), split_part(t.account, '/', 2),
            split_part(t.account, '/', 3), t.opened_at, t.last_position, t.sequence
        from touched t
        where t.opened_at is not null
    ),
    updated as (
        update order_books b
        set
            last_position = t.last_position,
            sequence = t.sequence
        from touched t
        where t.opened_at is null
            and b.account = t.account
        returning b.account
    )
    select
        (select count(*) from touched t where t.opened_at is null),
        (select count(*) from updated)
    into v_known, v_updated;

    if v_updated <> v_known then
        raise exception 'an event in positions % to % belongs to an order book that was never created', p_from + 1, p_to
            using errcode = 'FB010';
    end if;

    with touched as (
        select
            e.aggregate_id as account,
            e.subject as order_id,
            min(e.position) filter (where e.type = 'OrderCreated') as created_position,
            max(e.position) filter (where e.type = 'OrderDenied') as denied_position,
            max(e.position) as last_position,
            max(e.sequence) as sequence,
            min(e.occurred_at) filter (where e.type = 'OrderCreated') as created_at,
            max(e.occurred_at) as updated_at
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and e.type in (
                'OrderCreated', 'OrderDenied', 'OrderSubmitted', 'OrderAccepted', 'OrderRejected', 'OrderCanceled',
                'OrderExpired', 'OrderSuspended', 'OrderDoneForDay', 'OrderRestated', 'OrderCancelRequested',
                'OrderCancelSubmitted', 'OrderCancelPending', 'OrderCancelRejected', 'OrderReplaceRequested',
                'OrderReplaceSubmitted', 'OrderReplaceDenied', 'OrderReplacePending', 'OrderReplaced',
                'OrderReplaceRejected', 'OrderInDoubt', 'OrderDoubtResolved', 'OrderFilled', 'FillBusted',
                'FillCorrected'
            )
        group by e.aggregate_id, e.subject
    ),
    -- Looked up as scalars: a join could become a scan of the whole log.
    loaded as (
        select
            t.*,
            case when t.created_position is not null then (
                select e.payload from log e where e.shard = p_shard and e.position = t.created_position
            ) end as created,
            case when t.denied_position is not null then (
                select e.payload from log e where e.shard = p_shard and e.position = t.denied_position
            ) end as denied,
            (select e.payload from log e where e.shard = p_shard and e.position = t.last_position) as last
        from touched t
        offset 0
    ),
    changed as materialized (
        select
            t.account,
            t.order_id,
            t.created,
            t.denied,
            t.created_at,
            t.created_position,
            coalesce((t.last ->> 'quantity')::numeric, 0) as quantity,
            (t.last ->> 'limit_price')::numeric as limit_price,
            (t.last ->> 'stop_price')::numeric as stop_price,
            coalesce(t.last ->> 'working_state', 'CREATED') as working_state,
            coalesce(t.last ->> 'pending_request', 'NONE') as pending_request,
            (t.last ->> 'requested_quantity')::numeric as requested_quantity,
            (t.last ->> 'requested_limit_price')::numeric as requested_limit_price,
            (t.last ->> 'requested_stop_price')::numeric as requested_stop_price,
            coalesce((t.last ->> 'cum_qty')::numeric, 0) as cum_qty,
            coalesce((t.last ->> 'cum_cost')::numeric, 0) as cum_cost,
            -- OrderCreated omits what is left: it is all of the quantity, or of the money.
            coalesce(
                (t.last ->> case when t.last_position = t.created_position then 'quantity' else 'leaves_qty' end)::numeric,
                0
            ) as leaves_qty,
            coalesce(
                (
                    t.last ->> case when t.last_position = t.created_position then 'cash_quantity' else 'leaves_cash' end
                )::numeric,
                0
            ) as leaves_cash,
            coalesce((t.last ->> 'overfill_qty')::numeric, 0) as overfill_qty,
            coalesce(t.last -> 'fees', '{}') as fees,
            t.last ->> 'broker_order_id' as broker_order_id,
            t.last ->> 'reason' as reason,
            t.last -> 'doubts' as doubts,
            t.updated_at,
            t.last_position,
            t.sequence
        from loaded t
    ),
    -- New orders need no check for existing rows, which is half the cost of the write; in key order they find the pages
    -- of the primary key in memory.
    new_order as (
        insert into orders
        select
            p_shard, c.account, c.order_id, c.created ->> 'strategy_id', c.created ->> 'symbol', c.created ->> 'side',
            c.created ->> 'order_type', c.created ->> 'time_in_force', (c.created ->> 'expire_at')::timestamptz,
            coalesce((c.created ->> 'post_only')::boolean, false),
            coalesce((c.created ->> 'reduce_only')::boolean, false),
            (c.created ->> 'trailing_offset')::numeric, (c.created ->> 'display_quantity')::numeric,
            (c.created ->> 'cash_quantity')::numeric, c.created -> 'group' ->> 'kind', c.created -> 'group' ->> 'id',
            c.quantity, c.limit_price, c.stop_price, c.working_state, c.leaves_qty > 0 or c.leaves_cash > 0,
            c.pending_request, c.requested_quantity, c.requested_limit_price, c.requested_stop_price, c.cum_qty,
            c.cum_cost, c.leaves_qty, c.leaves_cash, c.overfill_qty, c.fees, c.broker_order_id, c.reason,
            c.doubts, c.denied ->> 'limit', c.denied ->> 'observed', c.created_at, c.updated_at, c.created_position,
            c.last_position, c.sequence
        from changed c
        where c.created_position is not null
        order by c.account, c.order_id
    ),
    updated as (
        insert into orders
        select
            p_shard, c.account, c.order_id, o.strategy_id, o.symbol, o.side, o.order_type, o.time_in_force, o.expire_at,
            o.post_only, o.reduce_only, o.trailing_offset, o.display_quantity, o.cash_quantity, o.group_kind,
            o.group_id, c.quantity, c.limit_price, c.stop_price, c.working_state, c.leaves_qty > 0 or c.leaves_cash > 0,
            c.pending_request, c.requested_quantity, c.requested_limit_price, c.requested_stop_price, c.cum_qty,
            c.cum_cost, c.leaves_qty, c.leaves_cash, c.overfill_qty, c.fees, c.broker_order_id, c.reason,
            c.doubts, coalesce(c.denied ->> 'limit', o.denied_limit), coalesce(c.denied ->> 'observed', o.denied_observed),
            o.created_at, greatest(o.updated_at, c.updated_at), o.created_position, c.last_position, c.sequence
        from changed c
        cross join lateral (
            select * from orders o
            where o.account = c.account
                and o.order_id = c.order_id
            limit 1
        ) o
        where c.created_position is null
        on conflict (account, order_id) do update set
            quantity = excluded.quantity,
            limit_price = excluded.limit_price,
            stop_price = excluded.stop_price,
            working_state = excluded.working_state,
            is_open = excluded.is_open,
            pending_request = excluded.pending_request,
            requested_quantity = excluded.requested_quantity,
            requested_limit_price = excluded.requested_limit_price,
            requested_stop_price = excluded.requested_stop_price,
            cum_qty = excluded.cum_qty,
            cum_cost = excluded.cum_cost,
            leaves_qty = excluded.leaves_qty,
            leaves_cash = excluded.leaves_cash,
            overfill_qty = excluded.overfill_qty,
            fees = excluded.fees,
            broker_order_id = excluded.broker_order_id,
            reason = excluded.reason,
            doubts = excluded.doubts,
            denied_limit = excluded.denied_limit,
            denied_observed = excluded.denied_observed,
            updated_at = excluded.updated_at,
            last_position = excluded.last_position,
            sequence = excluded.sequence
        returning 1
    )
    select
        (select count(*) from changed c where c.created_position is null),
        (select count(*) from updated)
    into v_known, v_updated;

    if v_updated <> v_known then
        raise exception 'an event in positions % to % is about an order that was never created', p_from + 1, p_to
            using errcode = 'FB010';
    end if;
end
$$;
