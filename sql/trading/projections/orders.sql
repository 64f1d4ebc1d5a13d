-- Aggregate types: order_book
-- Folds: OrderBookCreated, OrderCreated, OrderDenied, OrderSubmitted, OrderAccepted, OrderRejected, OrderCanceled,
--   OrderExpired, OrderSuspended, OrderDoneForDay, OrderRestated, OrderReopened, OrderCancelRequested,
--   OrderCancelPending, OrderCancelRejected, OrderReplaceRequested, OrderReplaceDenied, OrderReplacePending,
--   OrderReplaced, OrderReplaceRejected, OrderFilled, FillBusted, FillCorrected
-- Ignores: FillConflictDetected, UnmatchedExecutionRecorded, InstrumentDefined, RiskLimitsSet, TradingStateChanged,
--   PriceRecorded
--
-- Every order: what was asked for, how far it has traded, where it stands. And every order book: those orders that are
-- open are its pending ones.
--
-- An order's row is a fold of its events that does not depend on how they are cut into ranges. What traded is summed:
-- fills, less what was busted, with what was corrected. Of what replaces what came before (terms, the pending request,
-- a rest, an end) the latest event tells. The working state follows from these. So a range needs one pass that gathers
-- what it says about each order, and one write per order touched.

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
    quantity numeric not null,
    limit_price numeric,
    stop_price numeric,
    stage text not null,
    final_state text,
    is_suspended boolean not null,
    is_done_for_day boolean not null,
    working_state text not null,
    is_open boolean not null,
    pending_request text not null,
    requested_quantity numeric,
    requested_limit_price numeric,
    requested_stop_price numeric,
    cum_qty numeric not null,
    cum_cost numeric not null,
    leaves_qty numeric not null,
    overfill_qty numeric not null,
    fees jsonb not null,
    broker_order_id text,
    reason text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    created_position bigint not null,
    last_position bigint not null,
    sequence bigint not null,
    primary key (account, order_id)
) with (fillfactor = 80);

-- No column of an index changes while an order works, so that an update stays on its page (HOT). Only an order's end
-- does, which takes it out of orders_open.
create index orders_by_creation on orders (account, created_position);
create index orders_open on orders (account, created_position) where is_open;

comment on table order_books is 'Order books, one per account. Disposable: `foldbook projections rebuild orders`.';
comment on column order_books.opened_at is 'Business time of OrderBookCreated.';
comment on column order_books.last_position is 'Position of the book''s last event, whatever it was about.';
comment on column order_books.sequence is 'Sequence of the book''s last event.';

comment on table orders is 'Orders as the fold of their events. Disposable: `foldbook projections rebuild orders`.';
comment on column orders.quantity is 'OrderQty: as placed, or as last replaced or restated; so are the prices.';
comment on column orders.stage is 'How far it came on its way to the broker: CREATED, PENDING_NEW, NEW.';
comment on column orders.final_state is 'What ended it for good: CANCELED, EXPIRED, REJECTED, DENIED.';
comment on column orders.working_state is 'FIX OrdStatus without what is pending; see docs/domain.md.';
comment on column orders.is_open is 'It may still trade: cum_qty < quantity, nothing ended it, nor its day if it was for that day only.';
comment on column orders.pending_request is 'What was asked of the broker and not yet answered: NONE, CANCEL or REPLACE.';
comment on column orders.requested_quantity is 'What was last asked for, while requests are pending; so are the prices.';
comment on column orders.cum_cost is 'Exact sum of last_qty * last_px; the average price is cum_cost / cum_qty.';
comment on column orders.leaves_qty is 'quantity - cum_qty while it is open, else 0.';
comment on column orders.overfill_qty is 'How far cum_qty exceeds quantity.';
comment on column orders.fees is 'Sum of fees by currency: {"USDT": "1.25"}.';
comment on column orders.reason is 'Why it ended: what the broker said, or the code of the risk check that denied it.';
comment on column orders.created_at is 'Business time of OrderCreated.';
comment on column orders.updated_at is 'Latest business time of the order''s events.';
comment on column orders.last_position is 'Position of the order''s last event.';
comment on column orders.sequence is 'Sequence of the order''s last event.';

create function project_orders(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- A plan made while the table is small would scan it for ever after.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_known_books bigint;
    v_updated_books bigint;
begin
    with book_change as materialized (
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
            p_shard, c.account, split_part(c.account, '/', 1), split_part(c.account, '/', 2),
            split_part(c.account, '/', 3), c.opened_at, c.last_position, c.sequence
        from book_change c
        where c.opened_at is not null
    ),
    updated as (
        update order_books b
        set
            last_position = c.last_position,
            sequence = c.sequence
        from book_change c
        where c.opened_at is null
            and b.account = c.account
        returning b.account
    )
    select
        (select count(*) from book_change c where c.opened_at is null),
        (select count(*) from updated)
    into v_known_books, v_updated_books;

    if v_updated_books <> v_known_books then
        raise exception 'positions % to % tell of an order book that was never created', p_from + 1, p_to
            using errcode = 'FB010';
    end if;

    with created as (
        select
            e.aggregate_id as account,
            e.subject as order_id,
            e.payload ->> 'strategy_id' as strategy_id,
            e.payload ->> 'symbol' as symbol,
            e.payload ->> 'side' as side,
            e.payload ->> 'order_type' as order_type,
            e.payload ->> 'time_in_force' as time_in_force,
            (e.payload ->> 'expire_at')::timestamptz as expire_at,
            (e.payload ->> 'quantity')::numeric as quantity,
            (e.payload ->> 'limit_price')::numeric as limit_price,
            (e.payload ->> 'stop_price')::numeric as stop_price,
            e.occurred_at as created_at,
            e.position as created_position,
            e.sequence
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and e.type = 'OrderCreated'
        offset 0 -- so that no expression above is evaluated twice
    ),
    report as (
        select
            e.aggregate_id as account,
            e.subject as order_id,
            e.type,
            case when e.type = 'FillBusted' then -1 else 1 end as sign,
            (e.payload ->> 'last_qty')::numeric as last_qty,
            (e.payload ->> 'last_px')::numeric as last_px,
            (e.payload ->> 'fee')::numeric as fee,
            e.payload ->> 'fee_currency' as fee_currency,
            e.payload ->> 'broker_order_id' as broker_order_id,
            e.payload ->> 'pending_request' as pending_request,
            e.payload -> 'resumes' = 'false' as is_resting_on,
            e.occurred_at,
            e.position,
            e.sequence
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and e.type in (
                'OrderDenied', 'OrderSubmitted', 'OrderAccepted', 'OrderRejected', 'OrderCanceled',
                'OrderExpired', 'OrderSuspended', 'OrderDoneForDay', 'OrderRestated', 'OrderReopened',
                'OrderCancelRequested', 'OrderCancelPending', 'OrderCancelRejected',
                'OrderReplaceRequested', 'OrderReplaceDenied', 'OrderReplacePending', 'OrderReplaced',
                'OrderReplaceRejected', 'OrderFilled', 'FillBusted', 'FillCorrected'
            )
        union all
        -- A correction takes out what was reported before, too.
        select
            e.aggregate_id, e.subject, e.type, -1,
            (e.payload ->> 'previous_qty')::numeric,
            (e.payload ->> 'previous_px')::numeric,
            (e.payload ->> 'previous_fee')::numeric,
            e.payload ->> 'previous_fee_currency',
            null, null, null, e.occurred_at, e.position, e.sequence
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and e.type = 'FillCorrected'
        offset 0
    ),
    change as (
        select
            r.account,
            r.order_id,
            bool_or(r.type in ('OrderFilled', 'OrderAccepted', 'OrderReplaced')) as is_accepted,
            bool_or(r.type = 'OrderSubmitted') as is_submitted,
            max(r.position) filter (
                where r.type in ('OrderCanceled', 'OrderExpired', 'OrderRejected', 'OrderDenied')
            ) as final_position,
            max(r.position) filter (where r.type = 'OrderSuspended') as suspended_position,
            max(r.position) filter (where r.type = 'OrderDoneForDay') as done_position,
            max(r.position) filter (where r.type = 'OrderRestated' and r.is_resting_on is null) as resumed_position,
            max(r.position) filter (where r.type in ('OrderReplaced', 'OrderRestated')) as terms_position,
            max(r.position) filter (where r.type = 'OrderReplaceRequested') as replace_position,
            -- The latest position, and in its last two bits what was pending after it.
            max(
                r.position * 4 + case
                    when r.pending_request = 'NONE' then 0
                    when r.pending_request = 'CANCEL' then 1
                    when r.pending_request = 'REPLACE' then 2
                    when r.type in ('OrderCancelRejected', 'OrderReplaced', 'OrderReplaceRejected') then 0
                    when r.type in ('OrderCancelRequested', 'OrderCancelPending') then 1
                    when r.type in ('OrderReplaceRequested', 'OrderReplacePending') then 2
                end
            ) & 3 as pending,
            max(r.position) filter (
                where r.pending_request = 'NONE'
                    or r.pending_request is null
                    and r.type in ('OrderCancelRejected', 'OrderReplaced', 'OrderReplaceRejected')
            ) as answered_position,
            eventstore.total(r.sign * r.last_qty) as filled_qty,
            eventstore.total(r.sign * r.last_qty * r.last_px) as filled_cost,
            eventstore.total(r.sign * r.fee) as fee,
            min(r.fee_currency) as fee_currency,
            max(r.fee_currency) as fee_currency_max,
            max(r.position) filter (where r.broker_order_id is not null) as broker_position,
            max(r.occurred_at) as updated_at,
            max(r.position) as last_position,
            max(r.sequence) as sequence
        from report r
        group by r.account, r.order_id
    ),
    -- A full join can't become a nested loop, whatever the planner believes about the size of a range.
    touched as (
        select
            coalesce(n.account, c.account) as account,
            coalesce(n.order_id, c.order_id) as order_id,
            n.created_position is not null as is_new,
            n.strategy_id,
            n.symbol,
            n.side,
            n.order_type,
            n.time_in_force,
            n.expire_at,
            n.quantity,
            n.limit_price,
            n.stop_price,
            n.created_at,
            n.created_position,
            coalesce(c.is_accepted, false) as is_accepted,
            coalesce(c.is_submitted, false) as is_submitted,
            c.suspended_position,
            c.done_position,
            c.resumed_position,
            c.pending,
            c.terms_position,
            -- What was asked for before everything was answered is over.
            case when c.replace_position > coalesce(c.answered_position, 0) then c.replace_position end as replace_position,
            coalesce(c.answered_position is not null, false) as is_answered,
            final.state as final_state,
            final.reason,
            coalesce(c.filled_qty, 0) as filled_qty,
            coalesce(c.filled_cost, 0) as filled_cost,
            case
                when c.fee_currency is null then '{}'
                when c.fee_currency = c.fee_currency_max
                    then jsonb_build_object(c.fee_currency, trim_scale(c.fee)::text)
                else (
                    select jsonb_object_agg(f.currency, f.amount)
                    from (
                        select told.currency, trim_scale(sum(told.fee))::text as amount
                        from log e
                        cross join lateral (
                            values
                                (
                                    e.payload ->> 'fee_currency',
                                    (e.payload ->> 'fee')::numeric * case when e.type = 'FillBusted' then -1 else 1 end
                                ),
                                (e.payload ->> 'previous_fee_currency', -(e.payload ->> 'previous_fee')::numeric)
                        ) as told (currency, fee)
                        where e.shard = p_shard
                            and e.subject = c.order_id
                            and e.aggregate_id = c.account
                            and e.position > p_from
                            and e.position <= p_to
                            and e.payload ? 'side'
                            and told.currency is not null
                        group by 1
                    ) f
                )
            end as fees,
            (
                select e.payload ->> 'broker_order_id'
                from log e
                where e.shard = p_shard
                    and e.position = c.broker_position
            ) as broker_order_id,
            greatest(c.updated_at, n.created_at) as updated_at,
            coalesce(c.last_position, n.created_position) as last_position,
            coalesce(c.sequence, n.sequence) as sequence
        from created n
        full join change c on c.account = n.account and c.order_id = n.order_id
        left join lateral (
            select
                case e.type
                    when 'OrderCanceled' then 'CANCELED'
                    when 'OrderExpired' then 'EXPIRED'
                    when 'OrderRejected' then 'REJECTED'
                    when 'OrderDenied' then 'DENIED'
                end as state,
                coalesce(e.payload ->> 'reason', e.payload ->> 'code') as reason
            from log e
            where e.shard = p_shard
                and e.position = c.final_position
        ) final on true
    ),
    -- An order that is neither new nor known stays without what OrderCreated says, and fails as not null.
    summed as (
        select
            t.account,
            t.order_id,
            t.is_new,
            coalesce(o.strategy_id, t.strategy_id) as strategy_id,
            coalesce(o.symbol, t.symbol) as symbol,
            coalesce(o.side, t.side) as side,
            coalesce(o.order_type, t.order_type) as order_type,
            coalesce(o.time_in_force, t.time_in_force) as time_in_force,
            coalesce(o.expire_at, t.expire_at) as expire_at,
            coalesce(terms.quantity, o.quantity, t.quantity) as quantity,
            coalesce(terms.limit_price, o.limit_price, t.limit_price) as limit_price,
            coalesce(terms.stop_price, o.stop_price, t.stop_price) as stop_price,
            case
                when t.is_accepted or o.stage = 'NEW' then 'NEW'
                when t.is_submitted or o.stage = 'PENDING_NEW' then 'PENDING_NEW'
                else 'CREATED'
            end as stage,
            coalesce(t.final_state, o.final_state) as final_state,
            coalesce(t.reason, o.reason) as reason,
            case
                when t.suspended_position > coalesce(t.resumed_position, 0) then true
                else coalesce(o.is_suspended, false) and t.resumed_position is null
            end as is_suspended,
            case
                when t.done_position > coalesce(t.resumed_position, 0) then true
                else coalesce(o.is_done_for_day, false) and t.resumed_position is null
            end as is_done_for_day,
            case
                when coalesce(t.final_state, o.final_state) is not null then 'NONE'
                when t.pending is not null then (array['NONE', 'CANCEL', 'REPLACE'])[t.pending + 1]
                else coalesce(o.pending_request, 'NONE')
            end as pending_request,
            case when t.replace_position is not null then asked.quantity when not t.is_answered then o.requested_quantity end
                as requested_quantity,
            case when t.replace_position is not null then asked.limit_price when not t.is_answered then o.requested_limit_price end
                as requested_limit_price,
            case when t.replace_position is not null then asked.stop_price when not t.is_answered then o.requested_stop_price end
                as requested_stop_price,
            coalesce(o.cum_qty, 0) + t.filled_qty as cum_qty,
            coalesce(o.cum_cost, 0) + t.filled_cost as cum_cost,
            case
                when o.fees is null or o.fees = '{}' then t.fees
                when t.fees = '{}' then o.fees
                else trading.add_amounts(o.fees, t.fees)
            end as fees,
            coalesce(t.broker_order_id, o.broker_order_id) as broker_order_id,
            coalesce(o.created_at, t.created_at) as created_at,
            greatest(o.updated_at, t.updated_at) as updated_at,
            coalesce(o.created_position, t.created_position) as created_position,
            t.last_position,
            t.sequence
        from touched t
        left join lateral (
            select * from orders o
            where not t.is_new
                and o.account = t.account
                and o.order_id = t.order_id
            limit 1
        ) o on true
        left join lateral (
            select
                (e.payload ->> 'quantity')::numeric as quantity,
                (e.payload ->> 'limit_price')::numeric as limit_price,
                (e.payload ->> 'stop_price')::numeric as stop_price
            from log e
            where e.shard = p_shard
                and e.position = t.terms_position
        ) terms on true
        left join lateral (
            select
                (e.payload ->> 'quantity')::numeric as quantity,
                (e.payload ->> 'limit_price')::numeric as limit_price,
                (e.payload ->> 'stop_price')::numeric as stop_price
            from log e
            where e.shard = p_shard
                and e.position = t.replace_position
        ) asked on true
        offset 0
    ),
    standing as (
        select
            s.*,
            s.final_state is not null or s.is_done_for_day and s.time_in_force = 'DAY' as has_ended
        from summed s
        offset 0
    ),
    folded as materialized (
        select
            s.*,
            p_shard as shard,
            case
                when s.final_state is not null then s.final_state
                when s.is_done_for_day then 'DONE_FOR_DAY'
                when s.cum_qty >= s.quantity then 'FILLED'
                when s.is_suspended then 'SUSPENDED'
                when s.cum_qty > 0 then 'PARTIALLY_FILLED'
                else s.stage
            end as working_state,
            s.cum_qty < s.quantity and not s.has_ended as is_open,
            case when s.has_ended then 0 else greatest(s.quantity - s.cum_qty, 0) end as leaves_qty,
            greatest(s.cum_qty - s.quantity, 0) as overfill_qty
        from standing s
    ),
    row as (
        select
            f.shard, f.account, f.order_id, f.strategy_id, f.symbol, f.side, f.order_type, f.time_in_force, f.expire_at,
            f.quantity, f.limit_price, f.stop_price, f.stage, f.final_state, f.is_suspended, f.is_done_for_day,
            f.working_state, f.is_open, f.pending_request,
            case when f.pending_request <> 'NONE' then f.requested_quantity end as requested_quantity,
            case when f.pending_request <> 'NONE' then f.requested_limit_price end as requested_limit_price,
            case when f.pending_request <> 'NONE' then f.requested_stop_price end as requested_stop_price,
            f.cum_qty, f.cum_cost, f.leaves_qty, f.overfill_qty, f.fees, f.broker_order_id, f.reason,
            f.created_at, f.updated_at, f.created_position, f.last_position, f.sequence,
            f.is_new
        from folded f
    ),
    -- New orders need no look at what is there, which is half of what the write costs; in key order they meet pages
    -- of the primary key that are at hand.
    new_order as (
        insert into orders
        select
            r.shard, r.account, r.order_id, r.strategy_id, r.symbol, r.side, r.order_type, r.time_in_force, r.expire_at,
            r.quantity, r.limit_price, r.stop_price, r.stage, r.final_state, r.is_suspended, r.is_done_for_day,
            r.working_state, r.is_open, r.pending_request, r.requested_quantity, r.requested_limit_price,
            r.requested_stop_price, r.cum_qty, r.cum_cost, r.leaves_qty, r.overfill_qty, r.fees, r.broker_order_id,
            r.reason, r.created_at, r.updated_at, r.created_position, r.last_position, r.sequence
        from row r
        where r.is_new
        order by r.account, r.order_id
    )
    insert into orders
    select
        r.shard, r.account, r.order_id, r.strategy_id, r.symbol, r.side, r.order_type, r.time_in_force, r.expire_at,
        r.quantity, r.limit_price, r.stop_price, r.stage, r.final_state, r.is_suspended, r.is_done_for_day,
        r.working_state, r.is_open, r.pending_request, r.requested_quantity, r.requested_limit_price,
        r.requested_stop_price, r.cum_qty, r.cum_cost, r.leaves_qty, r.overfill_qty, r.fees, r.broker_order_id,
        r.reason, r.created_at, r.updated_at, r.created_position, r.last_position, r.sequence
    from row r
    where not r.is_new
    on conflict (account, order_id) do update set
        quantity = excluded.quantity,
        limit_price = excluded.limit_price,
        stop_price = excluded.stop_price,
        stage = excluded.stage,
        final_state = excluded.final_state,
        is_suspended = excluded.is_suspended,
        is_done_for_day = excluded.is_done_for_day,
        working_state = excluded.working_state,
        is_open = excluded.is_open,
        pending_request = excluded.pending_request,
        requested_quantity = excluded.requested_quantity,
        requested_limit_price = excluded.requested_limit_price,
        requested_stop_price = excluded.requested_stop_price,
        cum_qty = excluded.cum_qty,
        cum_cost = excluded.cum_cost,
        leaves_qty = excluded.leaves_qty,
        overfill_qty = excluded.overfill_qty,
        fees = excluded.fees,
        broker_order_id = excluded.broker_order_id,
        reason = excluded.reason,
        updated_at = excluded.updated_at,
        last_position = excluded.last_position,
        sequence = excluded.sequence;
end
$$;
