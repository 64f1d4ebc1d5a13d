-- Every order book, one per account, and the orders that work in it.
--
-- An order leaves pending_orders with its last event, so that the table stays as small as what is open.

create table order_books (
    shard integer not null,
    account text not null,
    user_name text not null,
    exchange text not null,
    broker text not null,
    opened_at timestamptz not null,
    open_orders bigint not null check (open_orders >= 0),
    last_position bigint not null,
    sequence bigint not null,
    primary key (account)
) with (fillfactor = 50);

create table pending_orders (
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
    pending_request text not null,
    cum_qty numeric not null,
    cum_cost numeric not null,
    leaves_qty numeric not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    created_position bigint not null,
    last_position bigint not null,
    sequence bigint not null,
    primary key (account, order_id)
) with (fillfactor = 70);

comment on table order_books is 'Order books, one per account. Disposable: `foldbook projections rebuild order_books`.';
comment on column order_books.opened_at is 'Business time of OrderBookCreated.';
comment on column order_books.open_orders is 'How many rows of pending_orders the book has.';
comment on column order_books.last_position is 'Position of the book''s last event, whatever it was about.';
comment on column order_books.sequence is 'Sequence of the book''s last event.';
comment on table pending_orders is 'The open orders of each book: CREATED, NEW or PARTIALLY_FILLED.';
comment on column pending_orders.pending_request is 'What was asked of the broker and not yet answered: NONE or CANCEL.';
comment on column pending_orders.cum_cost is 'Exact sum of last_qty * last_px; the average price is cum_cost / cum_qty.';

create function project_order_books(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- Rows are found by their keys: a plan made while the tables are small would scan or hash them for ever after.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_known_books bigint;
    v_updated_books bigint;
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
            bool_or(r.type in ('OrderCanceled', 'OrderRejected')) as is_closed,
            eventstore.total(r.last_qty) as filled_qty,
            eventstore.total(r.last_qty * r.last_px) as filled_cost,
            max(r.occurred_at) as updated_at,
            max(r.position) as last_position,
            max(r.sequence) as sequence
        from report r
        group by r.account, r.order_id
    ),
    touched as (
        select
            n.*,
            c.account as changed_account,
            c.order_id as changed_order_id,
            coalesce(c.is_accepted, false) as is_accepted,
            coalesce(c.is_cancel_requested, false) as is_cancel_requested,
            coalesce(c.is_closed, false) as is_closed,
            coalesce(c.filled_qty, 0) as filled_qty,
            coalesce(c.filled_cost, 0) as filled_cost,
            greatest(c.updated_at, n.created_at) as updated_at,
            coalesce(c.last_position, n.created_position) as last_position,
            coalesce(c.sequence, n.sequence) as last_sequence
        from created n
        full join change c on c.account = n.account and c.order_id = n.order_id
    ),
    new_order as materialized (
        select *
        from touched t
        where t.created_position is not null
            and not t.is_closed
            and t.filled_qty < t.quantity
    ),
    -- What is said about an order that is no longer here, a late fill say, changes nothing here.
    known_order as materialized (
        select
            p.account,
            p.order_id,
            t.is_closed or p.cum_qty + t.filled_qty >= p.quantity as is_closed,
            case
                when p.cum_qty + t.filled_qty > 0 then 'PARTIALLY_FILLED'
                when t.is_accepted then 'NEW'
                else p.working_state
            end as working_state,
            case when t.is_cancel_requested then 'CANCEL' else p.pending_request end as pending_request,
            p.cum_qty + t.filled_qty as cum_qty,
            p.cum_cost + t.filled_cost as cum_cost,
            p.quantity - p.cum_qty - t.filled_qty as leaves_qty,
            greatest(p.updated_at, t.updated_at) as updated_at,
            t.last_position,
            t.last_sequence
        from touched t
        cross join lateral (
            select *
            from pending_orders p
            where p.account = t.changed_account
                and p.order_id = t.changed_order_id
            limit 1
        ) p
        where t.created_position is null
    ),
    inserted as (
        insert into pending_orders
        select
            p_shard,
            n.account,
            n.order_id,
            n.strategy_id,
            n.symbol,
            n.side,
            n.order_type,
            n.time_in_force,
            n.expire_at,
            n.quantity,
            n.limit_price,
            n.stop_price,
            case
                when n.filled_qty > 0 then 'PARTIALLY_FILLED'
                when n.is_accepted then 'NEW'
                else 'CREATED'
            end,
            case when n.is_cancel_requested then 'CANCEL' else 'NONE' end,
            n.filled_qty,
            n.filled_cost,
            n.quantity - n.filled_qty,
            n.created_at,
            n.updated_at,
            n.created_position,
            n.last_position,
            n.last_sequence
        from new_order n
    ),
    updated as (
        update pending_orders p
        set
            working_state = k.working_state,
            pending_request = k.pending_request,
            cum_qty = k.cum_qty,
            cum_cost = k.cum_cost,
            leaves_qty = k.leaves_qty,
            updated_at = k.updated_at,
            last_position = k.last_position,
            sequence = k.last_sequence
        from known_order k
        where not k.is_closed
            and p.account = k.account
            and p.order_id = k.order_id
    ),
    deleted as (
        delete from pending_orders p
        using known_order k
        where k.is_closed
            and p.account = k.account
            and p.order_id = k.order_id
    ),
    book_event as (
        select
            e.aggregate_id as account,
            case when e.type = 'OrderBookCreated' then e.payload end as book,
            case when e.type = 'OrderBookCreated' then e.occurred_at end as opened_at,
            0 as more_open_orders,
            e.position,
            e.sequence
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
        union all
        select n.account, null, null, 1, n.last_position, n.last_sequence
        from new_order n
        union all
        select k.account, null, null, -1, k.last_position, k.last_sequence
        from known_order k
        where k.is_closed
    ),
    book_change as materialized (
        select
            b.account,
            max(b.book ->> 'user') as user_name,
            max(b.book ->> 'exchange') as exchange,
            max(b.book ->> 'broker') as broker,
            max(b.opened_at) as opened_at,
            sum(b.more_open_orders) as more_open_orders,
            max(b.position) as last_position,
            max(b.sequence) as sequence
        from book_event b
        group by b.account
    ),
    opened as (
        insert into order_books
        select
            p_shard,
            c.account,
            c.user_name,
            c.exchange,
            c.broker,
            c.opened_at,
            c.more_open_orders,
            c.last_position,
            c.sequence
        from book_change c
        where c.opened_at is not null
    ),
    updated_book as (
        update order_books b
        set
            open_orders = b.open_orders + c.more_open_orders,
            last_position = c.last_position,
            sequence = c.sequence
        from book_change c
        where c.opened_at is null
            and b.account = c.account
        returning b.account
    )
    select
        (select count(*) from book_change c where c.opened_at is null),
        (select count(*) from updated_book)
    into v_known_books, v_updated_books;

    if v_updated_books <> v_known_books then
        raise exception 'positions % to % tell of an order book that was never created', p_from + 1, p_to
            using errcode = 'FB010';
    end if;
end
$$;
