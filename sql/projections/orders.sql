-- Every order: what was asked for, how far it has traded, where it stands.
--
-- An order's row is a fold of its events that does not depend on how they are cut into ranges: quantities and costs
-- are sums, a final state stays, and the state of a working order follows from its sums. So a range needs one pass
-- that gathers what it says about each order, and one write per order touched.

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
    working_state text not null,
    is_open boolean not null,
    pending_request text not null,
    cum_qty numeric not null,
    cum_cost numeric not null,
    leaves_qty numeric not null,
    overfill_qty numeric not null,
    fees jsonb not null,
    broker_order_id text,
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

comment on table orders is 'Orders as the fold of their events. Disposable: `foldbook projections rebuild orders`.';
comment on column orders.working_state is 'FIX OrdStatus without what is pending: CREATED, NEW, PARTIALLY_FILLED, FILLED, CANCELED, REJECTED.';
comment on column orders.is_open is 'working_state is CREATED, NEW or PARTIALLY_FILLED.';
comment on column orders.pending_request is 'What was asked of the broker and not yet answered: NONE or CANCEL.';
comment on column orders.cum_cost is 'Exact sum of last_qty * last_px; the average price is cum_cost / cum_qty.';
comment on column orders.overfill_qty is 'How far cum_qty exceeds quantity.';
comment on column orders.fees is 'Sum of fees by currency: {"USDT": "1.25"}.';
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
begin
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
            (e.payload ->> 'last_qty')::numeric as last_qty,
            (e.payload ->> 'last_px')::numeric as last_px,
            (e.payload ->> 'fee')::numeric as fee,
            e.payload ->> 'fee_currency' as fee_currency,
            e.payload ->> 'broker_order_id' as broker_order_id,
            e.occurred_at,
            e.position,
            e.sequence
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and e.type in ('OrderAccepted', 'OrderFilled', 'OrderCancelRequested', 'OrderCanceled', 'OrderRejected')
        offset 0
    ),
    change as (
        select
            r.account,
            r.order_id,
            bool_or(r.type = 'OrderAccepted') as is_accepted,
            bool_or(r.type = 'OrderCancelRequested') as is_cancel_requested,
            max(r.position) filter (where r.type = 'OrderCanceled') as canceled_position,
            max(r.position) filter (where r.type = 'OrderRejected') as rejected_position,
            eventstore.total(r.last_qty) as filled_qty,
            eventstore.total(r.last_qty * r.last_px) as filled_cost,
            eventstore.total(r.fee) as fee,
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
            c.is_accepted,
            c.is_cancel_requested,
            case
                when c.canceled_position > c.rejected_position or c.rejected_position is null and c.canceled_position is not null
                    then 'CANCELED'
                when c.rejected_position is not null then 'REJECTED'
            end as final_state,
            coalesce(c.filled_qty, 0) as filled_qty,
            coalesce(c.filled_cost, 0) as filled_cost,
            case
                when c.fee_currency is null then '{}'
                when c.fee_currency = c.fee_currency_max
                    then jsonb_build_object(c.fee_currency, trim_scale(c.fee)::text)
                else (
                    select jsonb_object_agg(f.currency, f.amount)
                    from (
                        select
                            e.payload ->> 'fee_currency' as currency,
                            trim_scale(sum((e.payload ->> 'fee')::numeric))::text as amount
                        from log e
                        where e.shard = p_shard
                            and e.subject = c.order_id
                            and e.aggregate_id = c.account
                            and e.position > p_from
                            and e.position <= p_to
                            and e.payload ? 'fee_currency'
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
            coalesce(o.quantity, t.quantity) as quantity,
            coalesce(o.limit_price, t.limit_price) as limit_price,
            coalesce(o.stop_price, t.stop_price) as stop_price,
            coalesce(o.created_at, t.created_at) as created_at,
            coalesce(o.created_position, t.created_position) as created_position,
            coalesce(
                t.final_state,
                case when o.working_state in ('CANCELED', 'REJECTED') then o.working_state end
            ) as final_state,
            coalesce(t.is_accepted, false) or coalesce(o.working_state, 'CREATED') <> 'CREATED' as is_accepted,
            coalesce(t.is_cancel_requested or o.pending_request = 'CANCEL', t.is_cancel_requested, false) as is_cancel_requested,
            coalesce(o.cum_qty, 0) + t.filled_qty as cum_qty,
            coalesce(o.cum_cost, 0) + t.filled_cost as cum_cost,
            case
                when o.fees is null or o.fees = '{}' then t.fees
                when t.fees = '{}' then o.fees
                else eventstore.add_amounts(o.fees, t.fees)
            end as fees,
            coalesce(t.broker_order_id, o.broker_order_id) as broker_order_id,
            greatest(o.updated_at, t.updated_at) as updated_at,
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
        offset 0
    ),
    standing as (
        select
            s.*,
            s.final_state is null and s.cum_qty < s.quantity as is_open
        from summed s
        offset 0
    ),
    folded as materialized (
        select
            s.is_new,
            p_shard as shard,
            s.account,
            s.order_id,
            s.strategy_id,
            s.symbol,
            s.side,
            s.order_type,
            s.time_in_force,
            s.expire_at,
            s.quantity,
            s.limit_price,
            s.stop_price,
            case
                when s.final_state is not null then s.final_state
                when not s.is_open then 'FILLED'
                when s.cum_qty > 0 then 'PARTIALLY_FILLED'
                when s.is_accepted then 'NEW'
                else 'CREATED'
            end as working_state,
            s.is_open,
            case when s.is_open and s.is_cancel_requested then 'CANCEL' else 'NONE' end as pending_request,
            s.cum_qty,
            s.cum_cost,
            case when s.is_open then s.quantity - s.cum_qty else 0 end as leaves_qty,
            greatest(s.cum_qty - s.quantity, 0) as overfill_qty,
            s.fees,
            s.broker_order_id,
            s.created_at,
            s.updated_at,
            s.created_position,
            s.last_position,
            s.sequence
        from standing s
    ),
    -- New orders need no look at what is there, which is half of what the write costs; in key order they meet pages
    -- of the primary key that are at hand.
    new_order as (
        insert into orders
        select
            f.shard, f.account, f.order_id, f.strategy_id, f.symbol, f.side, f.order_type, f.time_in_force, f.expire_at,
            f.quantity, f.limit_price, f.stop_price, f.working_state, f.is_open, f.pending_request, f.cum_qty,
            f.cum_cost, f.leaves_qty, f.overfill_qty, f.fees, f.broker_order_id, f.created_at, f.updated_at,
            f.created_position, f.last_position, f.sequence
        from folded f
        where f.is_new
        order by f.account, f.order_id
    )
    insert into orders
    select
        f.shard, f.account, f.order_id, f.strategy_id, f.symbol, f.side, f.order_type, f.time_in_force, f.expire_at,
        f.quantity, f.limit_price, f.stop_price, f.working_state, f.is_open, f.pending_request, f.cum_qty,
        f.cum_cost, f.leaves_qty, f.overfill_qty, f.fees, f.broker_order_id, f.created_at, f.updated_at,
        f.created_position, f.last_position, f.sequence
    from folded f
    where not f.is_new
    on conflict (account, order_id) do update set
        working_state = excluded.working_state,
        is_open = excluded.is_open,
        pending_request = excluded.pending_request,
        cum_qty = excluded.cum_qty,
        cum_cost = excluded.cum_cost,
        leaves_qty = excluded.leaves_qty,
        overfill_qty = excluded.overfill_qty,
        fees = excluded.fees,
        broker_order_id = excluded.broker_order_id,
        updated_at = excluded.updated_at,
        last_position = excluded.last_position,
        sequence = excluded.sequence;
end
$$;
