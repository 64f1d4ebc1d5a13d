-- Aggregate types: order_book
-- Folds: OrderFilled, FillBusted, FillCorrected, ExecutionBooked, ExecutionBusted, ExecutionCorrected, AccountAdjusted
-- Ignores: OrderBookCreated, OrderCreated, OrderDenied, OrderSubmitted, OrderAccepted, OrderRejected, OrderCanceled,
--   OrderExpired, OrderSuspended, OrderDoneForDay, OrderRestated, OrderCancelRequested, OrderCancelSubmitted,
--   OrderCancelPending, OrderCancelRejected, OrderReplaceRequested, OrderReplaceSubmitted, OrderReplaceDenied,
--   OrderReplacePending, OrderReplaced, OrderReplaceRejected, OrderInDoubt, OrderDoubtResolved, FillConflictDetected,
--   UnmatchedExecutionRecorded, InstrumentDefined, RiskLimitsSet, TradingStateChanged, PriceRecorded,
--   PositionMismatchDetected, PositionMismatchResolved
--
-- FIFO lots: what each fill opened, which later fills closed it, and the profit or loss.
--
-- A fill is a leg: a signed quantity at a place. Against a position of the opposite sign it closes lots, the oldest first;
-- the rest opens a lot. For each account and symbol, everything ever opened is laid end to end on one line, and everything
-- ever closed on another: the lot over (a, b] and the closing over (c, d] meet where these overlap. Both lines grow only
-- at their ends, so a range needs where they end (lot_positions) and the lots that its closings reach; there is no loop.
--
-- A position that was there at the beginning, or was transferred, is a leg too, without an order and an exec_id. What it
-- opens costs what the event says. It trades nothing, so what it closes is closed at the lot's own cost, without profit.
--
-- A bust removes its fill's leg, a correction replaces it in its place. If that place is before the range, everything in
-- the symbol's lots from there on is undone, and its legs, which are the undone rows, are matched again. With is_reversal
-- the leg stays, its opposite becomes a leg now, and after it comes the leg of a correction.
--
-- A split ends all open lots of its symbol without profit, and opens a new one for each: split_to units for split_from,
-- cut to 18 digits after the point, the last one the rest of the position, for the same cost, and with the order, exec_id
-- and time of the old lot. No fill from before a split is ever busted or corrected after it, so that nothing is undone
-- across one.
--
-- Costs are quantity * unit cost. They are exact, except where a unit cost is a quotient, which is cut to 36 digits after
-- the point: of a gross amount that the broker told, of the value of a transferred position, of the cost after a split.

create table lots (
    shard integer not null,
    account text not null,
    symbol text not null,
    opened_position bigint not null,
    opened_leg integer not null,
    order_id text,
    exec_id text,
    quantity numeric not null,
    price numeric,
    unit_cost numeric not null,
    remaining numeric not null,
    realized_pnl numeric not null,
    opened_at timestamptz not null,
    closed_position bigint,
    closed_at timestamptz,
    opened_to numeric not null,
    primary key (account, symbol, opened_position, opened_leg)
) with (fillfactor = 80);

-- Lots are looked up by place and by amount. As long as the planner knows little about the table, it cannot tell the two
-- indexes apart, and would read a symbol's lots from first to last. Each index has its own collation, and so serves only
-- one of the two lookups. Unique, because other indexes are built after a rebuild, and the rebuild needs this one.
create unique index lots_by_amount on lots (account collate "C", symbol collate "C", opened_to);

create table lot_closings (
    shard integer not null,
    account text not null,
    symbol text not null,
    closed_position bigint not null,
    closed_leg smallint not null,
    opened_position bigint not null,
    opened_leg integer not null,
    order_id text,
    exec_id text,
    quantity numeric not null,
    lot_unit_cost numeric not null,
    close_price numeric,
    close_unit_cost numeric not null,
    realized_pnl numeric not null,
    closed_at timestamptz not null,
    primary key (account, symbol, closed_position, closed_leg, opened_position, opened_leg)
);

create table lot_positions (
    shard integer not null,
    account text not null,
    symbol text not null,
    quantity numeric not null,
    opened_quantity numeric not null,
    primary key (account, symbol)
) with (fillfactor = 45);

comment on table lots is 'FIFO lots: first opened, first closed. Disposable: `foldbook projections rebuild lots`.';
comment on column lots.opened_position is 'Position of the fill, of the bust or correction that was booked as a separate fill, or of the opening, transfer or split.';
comment on column lots.opened_leg is '1 for the values that a correction books after reversing the old ones; the number of the lot, from 0, if a split opened several; else 0.';
comment on column lots.order_id is 'Null: no order of ours.';
comment on column lots.exec_id is 'The exec_id of the opening fill. Null: it was there at the beginning, or transferred.';
comment on column lots.quantity is 'What was opened; positive if long.';
comment on column lots.price is 'Of the opening fill, as it was told.';
comment on column lots.unit_cost is 'What one unit of quantity has cost: price * multiplier of an ordinary fill.';
comment on column lots.remaining is 'What is still open, signed like quantity; the sum over the lots is the position.';
comment on column lots.realized_pnl is 'Sum over its closings. Exact; gross of fees.';
comment on column lots.opened_at is 'Business time of the opening fill; a split does not change it.';
comment on column lots.closed_position is 'Where the last part of it was closed; null while it is open.';
comment on column lots.opened_to is 'Everything ever opened in the symbol, long or short, up to and including this lot.';
comment on table lot_closings is 'What each fill, transfer or split closed of each lot.';
comment on column lot_closings.exec_id is 'The exec_id of the closing fill. Null: it was a transfer or a split.';
comment on column lot_closings.quantity is 'What was closed, signed like the lot.';
comment on column lot_closings.close_unit_cost is 'What one unit brought; of a transfer or a split, what it had cost, or nothing if too little was left for a new lot.';
comment on column lot_closings.realized_pnl is 'quantity * (close_unit_cost - lot_unit_cost).';
comment on table lot_positions is 'The totals of the lots of each symbol.';
comment on column lot_positions.quantity is 'The sum of what remains of its lots.';
comment on column lot_positions.opened_quantity is 'Everything ever opened in it, long or short. Less what is open, it is everything ever closed.';

create function project_lots(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- A plan made while the tables are small would keep scanning them.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set enable_hashjoin = off
set enable_nestloop = on
as $$
declare
    v_after bigint := p_from;
    v_next bigint;
    v_splits bigint[];
    v_is_amended boolean;
    v_is_adjusted boolean;
    v_changes jsonb;
    v_undone jsonb;
begin
    -- What is rare is looked for once; a branch that has nothing to do does not read the range.
    select
        array_agg(e.position order by e.position) filter (where e.payload ->> 'kind' = 'SPLIT'),
        coalesce(bool_or(e.type <> 'AccountAdjusted'), false),
        coalesce(bool_or(e.type = 'AccountAdjusted'), false)
    into v_splits, v_is_amended, v_is_adjusted
    from log e
    where e.shard = p_shard
        and e.position > p_from
        and e.position <= p_to
        and e.type in ('FillBusted', 'FillCorrected', 'ExecutionBusted', 'ExecutionCorrected', 'AccountAdjusted')
        and (e.type <> 'AccountAdjusted' or e.payload ? 'quantity');

    -- Legs are matched all at once, from one split to the next.
    foreach v_next in array v_splits || (p_to + 1)
    loop
        v_changes := null;
        v_undone := null;
        if v_is_amended then
            -- The legs that busts and corrections change, each with its last values; a removed leg has quantity 0.
            with amendment as materialized (
                select
                    e.aggregate_id as account,
                    e.position,
                    e.subject,
                    e.sequence,
                    e.type in ('FillBusted', 'ExecutionBusted') as is_bust,
                    coalesce((e.payload -> 'is_reversal')::boolean, false) as is_reversal,
                    e.payload,
                    e.occurred_at
                from log e
                where e.shard = p_shard
                    and e.position > v_after
                    and e.position < v_next
                    and e.type in ('FillBusted', 'FillCorrected', 'ExecutionBusted', 'ExecutionCorrected')
            ),
            said as (
                select
                    a.account,
                    place.position,
                    case when place.type in ('OrderFilled', 'ExecutionBooked') then 0 else 1 end as leg,
                    case when a.is_bust then 0 else 1 end as sign,
                    a.payload,
                    place.occurred_at,
                    a.position as changed_position
                from amendment a
                left join lateral (
                    select p.position, p.type, p.occurred_at
                    from log p
                    where p.shard = p_shard
                        and p.subject = a.subject
                        and p.aggregate_id = a.account
                        and p.sequence < a.sequence
                        and (
                            p.type in ('OrderFilled', 'ExecutionBooked') and p.payload ->> 'exec_id' = a.payload ->> 'exec_ref_id'
                            or p.type in ('FillCorrected', 'ExecutionCorrected')
                                and p.payload ->> 'exec_ref_id' = a.payload ->> 'exec_ref_id'
                                and (p.payload -> 'is_reversal')::boolean
                        )
                    order by p.sequence desc
                    limit 1
                ) place on true
                where not a.is_reversal
                union all
                select
                    a.account,
                    case when standing.payload is not null then a.position end,
                    0,
                    -1,
                    standing.payload,
                    a.occurred_at,
                    a.position
                from amendment a
                left join lateral (
                    select s.payload
                    from log s
                    where s.shard = p_shard
                        and s.subject = a.subject
                        and s.aggregate_id = a.account
                        and s.sequence < a.sequence
                        and s.type in ('OrderFilled', 'FillCorrected', 'ExecutionBooked', 'ExecutionCorrected')
                        and coalesce(s.payload ->> 'exec_ref_id', s.payload ->> 'exec_id') = a.payload ->> 'exec_ref_id'
                    order by s.sequence desc
                    limit 1
                ) standing on true
                where a.is_reversal
                union all
                select a.account, a.position, 1, 1, a.payload, a.occurred_at, a.position
                from amendment a
                where a.is_reversal
                    and not a.is_bust
            )
            select jsonb_agg(c)
            into v_changes
            from (
                select distinct on (s.position, s.leg)
                    s.account,
                    s.payload ->> 'symbol' as symbol,
                    s.position,
                    s.leg,
                    s.payload ->> 'order_id' as order_id,
                    coalesce(s.payload ->> 'exec_ref_id', s.payload ->> 'exec_id') as exec_id,
                    s.sign * trading.signed_quantity(
                        s.payload ->> 'side', (s.payload ->> 'last_qty')::numeric, (s.payload ->> 'fee')::numeric,
                        s.payload ->> 'fee_currency', s.payload ->> 'base_currency', s.payload ->> 'instrument_kind'
                    ) as quantity,
                    (s.payload ->> 'last_px')::numeric as price,
                    trading.fill_unit_cost(
                        (s.payload ->> 'last_qty')::numeric, (s.payload ->> 'last_px')::numeric,
                        (s.payload ->> 'gross_amount')::numeric, (s.payload ->> 'multiplier')::numeric,
                        s.payload ->> 'instrument_kind'
                    ) as unit_cost,
                    s.occurred_at
                from said s
                order by s.position, s.leg, s.changed_position desc
            ) c;
        end if;

        if v_changes @? '$[*] ? (@.position == null)' then
            raise exception 'positions % to % bust or correct a fill that does not exist', v_after + 1, v_next - 1
                using errcode = 'FB013';
        end if;

        if v_changes is not null then
            with again as materialized (
                select
                    c.account,
                    c.symbol,
                    min(c.position) as position
                from jsonb_to_recordset(v_changes) as c (account text, symbol text, position bigint)
                where c.position <= v_after
                group by c.account, c.symbol
            ),
            closing as (
                delete from lot_closings c
                using again a
                where c.account = a.account
                    and c.symbol = a.symbol
                    and c.closed_position >= a.position
                returning c.*, c.opened_position < a.position as is_of_older_lot
            ),
            lot as (
                delete from lots l
                using again a
                where l.account = a.account
                    and l.symbol = a.symbol
                    and l.opened_position >= a.position
                returning l.*
            ),
            leg as (
                select
                    l.account,
                    l.symbol,
                    l.position,
                    l.leg,
                    min(l.order_id) as order_id,
                    min(l.exec_id) as exec_id,
                    sum(l.quantity) as quantity,
                    min(l.price) as price,
                    min(l.unit_cost) as unit_cost,
                    min(l.occurred_at) as occurred_at,
                    sum(l.opened) as opened
                from (
                    select
                        o.account, o.symbol, o.opened_position, o.opened_leg, o.order_id, o.exec_id, o.quantity, o.price,
                        o.unit_cost, o.opened_at, abs(o.quantity)
                    from lot o
                    union all
                    select
                        c.account, c.symbol, c.closed_position, c.closed_leg, c.order_id, c.exec_id, -c.quantity, c.close_price,
                        c.close_unit_cost, c.closed_at, 0
                    from closing c
                ) l (account, symbol, position, leg, order_id, exec_id, quantity, price, unit_cost, occurred_at, opened)
                group by l.account, l.symbol, l.position, l.leg
            ),
            reopened as (
                update lots l
                set
                    remaining = l.remaining + c.quantity,
                    realized_pnl = l.realized_pnl - c.realized_pnl,
                    closed_position = null,
                    closed_at = null
                from (
                    select
                        c.account,
                        c.symbol,
                        c.opened_position,
                        c.opened_leg,
                        sum(c.quantity) as quantity,
                        sum(c.realized_pnl) as realized_pnl
                    from closing c
                    where c.is_of_older_lot
                    group by c.account, c.symbol, c.opened_position, c.opened_leg
                ) c
                where l.account = c.account
                    and l.symbol = c.symbol
                    and l.opened_position = c.opened_position
                    and l.opened_leg = c.opened_leg
            ),
            undone as (
                select
                    l.account,
                    l.symbol,
                    sum(l.quantity) as quantity,
                    sum(l.opened) as opened
                from leg l
                group by l.account, l.symbol
            ),
            taken_back as (
                update lot_positions t
                set
                    quantity = t.quantity - u.quantity,
                    opened_quantity = t.opened_quantity - u.opened
                from undone u
                where t.account = u.account
                    and t.symbol = u.symbol
                    and t.opened_quantity > u.opened
            ),
            -- A symbol in which nothing that was ever opened is left is forgotten.
            forgotten as (
                delete from lot_positions t
                using undone u
                where t.account = u.account
                    and t.symbol = u.symbol
                    and t.opened_quantity = u.opened
            )
            select jsonb_agg(u)
            into v_undone
            from (
                select
                    l.account,
                    l.symbol,
                    l.position,
                    l.leg,
                    l.order_id,
                    l.exec_id,
                    l.quantity,
                    l.price,
                    -- What a transfer closed does not say what the transfer itself costs.
                    coalesce(t.unit_cost, l.unit_cost) as unit_cost,
                    l.occurred_at
                from leg l
                left join lateral (
                    select trading.share((e.payload ->> 'value')::numeric, 1, (e.payload ->> 'quantity')::numeric) as unit_cost
                    from log e
                    where l.exec_id is null
                        and e.shard = p_shard
                        and e.position = l.position
                    limit 1
                ) t on true
            ) u;
        end if;

        -- Here, lateral joins look up rows one by one; all other joins are hashed.
        perform set_config('enable_hashjoin', 'on', true), set_config('enable_nestloop', 'off', true);

        with fill as (
            select
                e.aggregate_id as account,
                e.payload ->> 'symbol' as symbol,
                e.position,
                0 as leg,
                case e.type when 'OrderFilled' then e.subject end as order_id,
                e.payload ->> 'exec_id' as exec_id,
                trading.signed_quantity(
                    e.payload ->> 'side', (e.payload ->> 'last_qty')::numeric, (e.payload ->> 'fee')::numeric,
                    e.payload ->> 'fee_currency', e.payload ->> 'base_currency', e.payload ->> 'instrument_kind'
                ) as quantity,
                (e.payload ->> 'last_px')::numeric as price,
                trading.fill_unit_cost(
                    (e.payload ->> 'last_qty')::numeric, (e.payload ->> 'last_px')::numeric,
                    (e.payload ->> 'gross_amount')::numeric, (e.payload ->> 'multiplier')::numeric,
                    e.payload ->> 'instrument_kind'
                ) as unit_cost,
                e.occurred_at
            from log e
            where e.shard = p_shard
                and e.position > v_after
                and e.position < v_next
                and e.type in ('OrderFilled', 'ExecutionBooked')
            offset 0 -- so that no expression above is evaluated twice
        ),
        adjustment as (
            select
                e.aggregate_id as account,
                e.payload ->> 'symbol' as symbol,
                e.position,
                0 as leg,
                null as order_id,
                null as exec_id,
                (e.payload ->> 'quantity')::numeric as quantity,
                (e.payload ->> 'price')::numeric as price,
                trading.share((e.payload ->> 'value')::numeric, 1, (e.payload ->> 'quantity')::numeric) as unit_cost,
                e.occurred_at
            from log e
            where v_is_adjusted
                and e.shard = p_shard
                and e.position > v_after
                and e.position < v_next
                and e.type = 'AccountAdjusted'
                and (e.payload ->> 'quantity')::numeric <> 0
            offset 0
        ),
        undone as (
            select *
            from jsonb_to_recordset(v_undone) as u (
                account text, symbol text, position bigint, leg integer, order_id text, exec_id text, quantity numeric,
                price numeric, unit_cost numeric, occurred_at timestamptz
            )
        ),
        change as materialized (
            select *
            from jsonb_to_recordset(v_changes) as c (
                account text, symbol text, position bigint, leg integer, order_id text, exec_id text, quantity numeric,
                price numeric, unit_cost numeric, occurred_at timestamptz
            )
        ),
        leg as materialized (
            select
                l.*,
                l.position * 2 + l.leg as place
            from (
                select *
                from (select * from fill union all select * from adjustment union all select * from undone) f
                where not exists (select from change c where c.position = f.position and c.leg = f.leg)
                union all
                select * from change
            ) l
            where l.quantity <> 0
        ),
        known as (
            select
                s.account,
                s.symbol,
                coalesce(t.quantity, 0) as quantity,
                coalesce(t.opened_quantity, 0) as opened_quantity
            from (select distinct l.account, l.symbol from leg l) s
            left join lateral (
                select t.quantity, t.opened_quantity
                from lot_positions t
                where t.account = s.account
                    and t.symbol = s.symbol
                limit 1
            ) t on true
        ),
        running as (
            select
                l.*,
                k.quantity + sum(l.quantity) over symbol as quantity_after,
                k.opened_quantity as known_opened,
                k.opened_quantity - abs(k.quantity) as known_closed
            from leg l
            join known k on k.account = l.account and k.symbol = l.symbol
            window symbol as (partition by l.account, l.symbol order by l.place rows unbounded preceding)
        ),
        split as (
            select
                r.*,
                case
                    when sign(r.quantity) = sign(r.quantity - r.quantity_after)
                        then least(abs(r.quantity), abs(r.quantity_after - r.quantity))
                    else 0
                end as closed
            from running r
            offset 0
        ),
        laid as materialized (
            select
                s.*,
                abs(s.quantity) - s.closed as opened,
                s.known_opened + sum(abs(s.quantity) - s.closed) over symbol as opened_to,
                s.known_closed + sum(s.closed) over symbol as closed_to
            from split s
            window symbol as (partition by s.account, s.symbol order by s.place rows unbounded preceding)
        ),
        reach as materialized (
            select
                l.account,
                l.symbol,
                min(l.known_closed) as closed_from,
                max(l.closed_to) as closed_to
            from laid l
            where l.closed > 0
            group by l.account, l.symbol
        ),
        known_lot as materialized (
            select
                l.*,
                -- Before the places of all legs, and in the order of the lots.
                -row_number() over (order by l.opened_to desc) as place
            from reach r
            cross join lateral (
                (
                    select *
                    from lots l
                    where l.account = r.account collate "C"
                        and l.symbol = r.symbol collate "C"
                        and l.opened_to > r.closed_from
                        and l.opened_to < r.closed_to
                    offset 0
                )
                union all
                (
                    select *
                    from lots l
                    where l.account = r.account collate "C"
                        and l.symbol = r.symbol collate "C"
                        and l.opened_to >= r.closed_to
                    order by l.opened_to
                    limit 1
                )
            ) l
        ),
        -- The ends of lots and of closings on one line. The stretch below each end, down to the next end, belongs to one lot
        -- and one closing: the nearest of each that end there or above.
        line as (
            select l.account, l.symbol, l.opened_to as till, l.place as lot_place, null::bigint as closing_place
            from laid l
            where l.opened > 0
            union all
            select l.account, l.symbol, l.opened_to, l.place, null
            from known_lot l
            union all
            select l.account, l.symbol, l.closed_to, null, l.place
            from laid l
            where l.closed > 0
        ),
        piece as (
            select
                min(l.lot_place) over line as lot_place,
                min(l.closing_place) over line as closing_place,
                l.till - coalesce(lead(l.till) over line, r.closed_from) as quantity,
                l.till
            from line l
            join reach r on r.account = l.account and r.symbol = l.symbol
            window line as (
                partition by l.account, l.symbol order by l.till desc, l.lot_place nulls last rows unbounded preceding
            )
        ),
        lot as (
            select l.place, l.position, l.leg, l.unit_cost, l.opened_to
            from laid l
            where l.opened > 0
            union all
            select l.place, l.opened_position, l.opened_leg, l.unit_cost, l.opened_to
            from known_lot l
        ),
        paired as (
            select
                c.account,
                c.symbol,
                c.position as closed_position,
                c.leg as closed_leg,
                l.position as opened_position,
                l.leg as opened_leg,
                c.order_id,
                c.exec_id,
                -sign(c.quantity) * p.quantity as quantity,
                l.unit_cost as lot_unit_cost,
                c.price as close_price,
                case when c.exec_id is null then l.unit_cost else c.unit_cost end as close_unit_cost,
                c.occurred_at as closed_at,
                p.lot_place,
                p.till = l.opened_to as is_last
            from piece p
            join laid c on c.place = p.closing_place
            join lot l on l.place = p.lot_place
            where p.quantity > 0
            offset 0
        ),
        closing as materialized (
            select
                p.*,
                p.quantity * (p.close_unit_cost - p.lot_unit_cost) as realized_pnl
            from paired p
        ),
        closed as materialized (
            select
                c.lot_place,
                sum(c.quantity) as quantity,
                sum(c.realized_pnl) as realized_pnl,
                max(c.closed_position) filter (where c.is_last) as closed_position,
                max(c.closed_at) filter (where c.is_last) as closed_at
            from closing c
            group by c.lot_place
        ),
        new_lot as (
            insert into lots
            select
                p_shard,
                l.account,
                l.symbol,
                l.position,
                l.leg,
                l.order_id,
                l.exec_id,
                sign(l.quantity) * l.opened,
                l.price,
                l.unit_cost,
                sign(l.quantity) * l.opened - coalesce(c.quantity, 0),
                coalesce(c.realized_pnl, 0),
                l.occurred_at,
                c.closed_position,
                c.closed_at,
                l.opened_to
            from laid l
            left join closed c on c.lot_place = l.place
            where l.opened > 0
            order by l.account, l.symbol, l.place
        ),
        changed_lot as (
            insert into lots
            select
                l.shard,
                l.account,
                l.symbol,
                l.opened_position,
                l.opened_leg,
                l.order_id,
                l.exec_id,
                l.quantity,
                l.price,
                l.unit_cost,
                l.remaining - c.quantity,
                l.realized_pnl + c.realized_pnl,
                l.opened_at,
                c.closed_position,
                c.closed_at,
                l.opened_to
            from known_lot l
            join closed c on c.lot_place = l.place
            order by l.account, l.symbol, l.place
            on conflict (account, symbol, opened_position, opened_leg) do update set
                remaining = excluded.remaining,
                realized_pnl = excluded.realized_pnl,
                closed_position = excluded.closed_position,
                closed_at = excluded.closed_at
        ),
        new_closing as (
            insert into lot_closings
            select
                p_shard,
                c.account,
                c.symbol,
                c.closed_position,
                c.closed_leg,
                c.opened_position,
                c.opened_leg,
                c.order_id,
                c.exec_id,
                c.quantity,
                c.lot_unit_cost,
                c.close_price,
                c.close_unit_cost,
                c.realized_pnl,
                c.closed_at
            from closing c
            order by c.account, c.symbol, c.closed_position, c.closed_leg, c.opened_position
        )
        insert into lot_positions as t
        select
            p_shard,
            l.account,
            l.symbol,
            sum(l.quantity),
            sum(l.opened)
        from laid l
        group by l.account, l.symbol
        order by l.account, l.symbol
        on conflict (account, symbol) do update set
            quantity = t.quantity + excluded.quantity,
            opened_quantity = t.opened_quantity + excluded.opened_quantity;

        exit when v_next > p_to;
        v_after := v_next;

        perform set_config('enable_hashjoin', 'off', true), set_config('enable_nestloop', 'on', true);

        with split as (
            select
                e.aggregate_id as account,
                e.payload ->> 'symbol' as symbol,
                (e.payload ->> 'quantity')::numeric as quantity,
                (e.payload ->> 'split_to')::numeric as split_to,
                (e.payload ->> 'split_from')::numeric as split_from,
                e.occurred_at
            from log e
            where e.shard = p_shard
                and e.position = v_next
        ),
        held as (
            select
                l.*,
                s.occurred_at as split_at,
                t.quantity + s.quantity as quantity_after,
                t.opened_quantity,
                div(l.remaining * s.split_to * 1e18, s.split_from) * 1e-18 as share,
                row_number() over by_age as number,
                lead(l.opened_to) over by_age is null as is_last
            from split s
            join lot_positions t on t.account = s.account and t.symbol = s.symbol
            cross join lateral (
                select *
                from lots l
                where l.account = t.account collate "C"
                    and l.symbol = t.symbol collate "C"
                    and l.opened_to > t.opened_quantity - abs(t.quantity)
                offset 0
            ) l
            window by_age as (order by l.opened_to)
        ),
        sized as (
            select
                h.*,
                case
                    when h.is_last then h.quantity_after - coalesce(
                        sum(h.share) over (order by h.number rows between unbounded preceding and 1 preceding), 0
                    )
                    else h.share
                end as new_quantity
            from held h
        ),
        renewed as materialized (
            select
                s.*,
                s.opened_quantity + sum(abs(s.new_quantity)) over (order by s.number) as new_opened_to,
                -- What is too little for a new lot is lost.
                case when s.new_quantity = 0 then 0 else s.unit_cost end as close_unit_cost
            from sized s
        ),
        closed as (
            update lots l
            set
                remaining = 0,
                realized_pnl = l.realized_pnl + r.remaining * (r.close_unit_cost - r.unit_cost),
                closed_position = v_next,
                closed_at = r.split_at
            from renewed r
            where l.account = r.account
                and l.symbol = r.symbol
                and l.opened_position = r.opened_position
                and l.opened_leg = r.opened_leg
        ),
        new_closing as (
            insert into lot_closings
            select
                p_shard,
                r.account,
                r.symbol,
                v_next,
                0,
                r.opened_position,
                r.opened_leg,
                null,
                null,
                r.remaining,
                r.unit_cost,
                null,
                r.close_unit_cost,
                r.remaining * (r.close_unit_cost - r.unit_cost),
                r.split_at
            from renewed r
            order by r.number
        ),
        new_lot as (
            insert into lots
            select
                p_shard,
                r.account,
                r.symbol,
                v_next,
                r.number - 1,
                r.order_id,
                r.exec_id,
                r.new_quantity,
                r.price,
                trading.share(r.remaining * r.unit_cost, 1, r.new_quantity),
                r.new_quantity,
                0,
                r.opened_at,
                null,
                null,
                r.new_opened_to
            from renewed r
            where r.new_quantity <> 0
            order by r.number
        )
        update lot_positions t
        set
            quantity = r.quantity_after,
            opened_quantity = r.new_opened_to
        from renewed r
        where t.account = r.account
            and t.symbol = r.symbol
            and r.is_last;
    end loop;
end
$$;
