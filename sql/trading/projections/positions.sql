-- Aggregate types: order_book
-- Folds: OrderFilled, FillBusted, FillCorrected
-- Ignores: OrderBookCreated, OrderCreated, OrderDenied, OrderSubmitted, OrderAccepted, OrderRejected, OrderCanceled,
--   OrderExpired, OrderSuspended, OrderDoneForDay, OrderRestated, OrderCancelRequested,
--   OrderCancelPending, OrderCancelRejected, OrderReplaceRequested, OrderReplaceDenied, OrderReplacePending,
--   OrderReplaced, OrderReplaceRejected, FillConflictDetected, UnmatchedExecutionRecorded, InstrumentDefined,
--   RiskLimitsSet, TradingStateChanged, PriceRecorded
--
-- Every position, and every execution that made it: one row per account and symbol, and a journal.
--
-- An entry of the journal has the position after it, and is never rewritten. So a position as of any position of the log
-- is the last entry up to there. A range of fills is folded in one pass, from the totals where it begins.
--
-- A bust or a correction amends a fill of the position's window: the fill is removed, or replaced in its place, and what
-- came after it is folded again. The fold begins at the entry before the fill, if that entry is still valid, that is, if
-- nothing since has amended a fill at or before it. Otherwise it begins before that fill, and so on; only the last 128
-- fills can be amended, so this ends soon. A bust or correction of an older fill (is_reversal) is booked when it arrives.

create table positions (
    shard integer not null,
    account text not null,
    symbol text not null,
    quantity numeric not null,
    cost numeric not null,
    realized_pnl numeric not null,
    cycle bigint not null,
    fees jsonb not null,
    multiplier numeric not null,
    base_currency text,
    quote_currency text,
    updated_at timestamptz not null,
    last_position bigint not null,
    primary key (account, symbol)
) with (fillfactor = 50);

create table position_entries (
    shard integer not null,
    account text not null,
    symbol text not null,
    position bigint not null,
    type text not null,
    order_id text not null,
    strategy_id text not null,
    exec_id text not null,
    exec_ref_id text,
    fill_quantity numeric,
    last_px numeric,
    reversed_quantity numeric,
    reversed_px numeric,
    amended_position bigint,
    multiplier numeric not null,
    quantity numeric not null,
    cost numeric not null,
    realized_pnl numeric not null,
    cycle bigint not null,
    fees jsonb not null,
    primary key (account, symbol, position)
);

-- Unique, because other indexes are built after a rebuild, and the rebuild needs this one.
create unique index position_amendments on position_entries (account, symbol, position, amended_position)
where amended_position is not null;

comment on table positions is 'Positions at average cost, one per account and symbol. Disposable: `foldbook projections rebuild positions`.';
comment on column positions.quantity is 'Negative while short. A fee in the base currency is taken from it.';
comment on column positions.cost is 'Exact sum of quantity * price * multiplier of what is held; the average price is cost / (quantity * multiplier).';
comment on column positions.realized_pnl is 'Since the first fill, gross of fees: realized_pnl - cost is the cash that the fills have brought.';
comment on column positions.cycle is 'How many times the position was opened; a flip ends one cycle and begins the next.';
comment on column positions.fees is 'Since the first fill: amounts by currency.';
comment on column positions.last_position is 'Position of the last execution.';
comment on table position_entries is 'Every execution, in the order of the log, and the position after it. Rows are never rewritten. Disposable: `foldbook projections rebuild positions`.';
comment on column position_entries.position is 'Position of the execution in the log.';
comment on column position_entries.type is 'OrderFilled, FillBusted or FillCorrected.';
comment on column position_entries.exec_ref_id is 'The exec_id of the fill that a bust or a correction refers to.';
comment on column position_entries.fill_quantity is 'The quantity of the fill that it adds, at last_px: signed, less a fee in the base currency. Null: it adds none.';
comment on column position_entries.reversed_quantity is 'The quantity of the fill that it reverses, at reversed_px, with the opposite sign. Null: it reverses none.';
comment on column position_entries.amended_position is 'The entry whose fill it removes or replaces. Null: it amends none.';
comment on column position_entries.quantity is 'The position after it; likewise cost, realized_pnl, cycle and fees.';

create function project_positions(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- Rows are found by their keys; a plan made while the tables are small would keep scanning them.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_after bigint := p_from;
    v_next bigint;
    v_said record;
    v_quantity numeric;
    v_previous_quantity numeric;
    v_amended bigint;
    v_first bigint;
    v_earlier bigint;
    v_state numeric[];
    v_fees jsonb;
begin
    -- Fills are folded all at once, from one bust or correction to the next.
    foreach v_next in array array(
        select e.position
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and e.type in ('FillBusted', 'FillCorrected')
        order by e.position
    ) || (p_to + 1)
    loop
        with said as (
            select
                e.aggregate_id as account,
                e.payload ->> 'symbol' as symbol,
                e.position,
                e.subject as order_id,
                e.payload ->> 'strategy_id' as strategy_id,
                e.payload ->> 'side' as side,
                e.payload ->> 'exec_id' as exec_id,
                (e.payload ->> 'last_qty')::numeric as last_qty,
                (e.payload ->> 'last_px')::numeric as last_px,
                (e.payload ->> 'fee')::numeric as fee,
                e.payload ->> 'fee_currency' as fee_currency,
                coalesce((e.payload ->> 'multiplier')::numeric, 1) as multiplier,
                e.payload ->> 'base_currency' as base_currency,
                e.payload ->> 'quote_currency' as quote_currency,
                e.occurred_at
            from log e
            where e.shard = p_shard
                and e.position > v_after
                and e.position < v_next
                and e.type = 'OrderFilled'
            offset 0 -- so that no expression above is evaluated twice
        ),
        fill as (
            select
                s.*,
                trading.signed_quantity(s.side, s.last_qty, s.fee, s.fee_currency, s.base_currency) as fill_quantity,
                row_number() over of_symbol as number,
                lead(s.position) over of_symbol is null as is_last
            from said s
            window of_symbol as (partition by s.account, s.symbol order by s.position)
        ),
        folded as materialized (
            select
                f.*,
                trading.net_position(
                    case
                        when f.number = 1 then (
                            select array[p.quantity, p.cost, p.realized_pnl, p.cycle]
                            from positions p
                            where p.account = f.account and p.symbol = f.symbol
                        )
                    end,
                    f.fill_quantity,
                    f.last_px * f.multiplier
                ) over of_symbol as state,
                trading.fee_totals(
                    case
                        when f.number = 1 then (
                            select p.fees
                            from positions p
                            where p.account = f.account and p.symbol = f.symbol
                        )
                    end,
                    f.fee_currency,
                    f.fee
                ) over of_symbol as fees
            from fill f
            window of_symbol as (
                partition by f.account, f.symbol order by f.position rows unbounded preceding
            )
        ),
        entry as (
            insert into position_entries
            select
                p_shard, f.account, f.symbol, f.position, 'OrderFilled', f.order_id, f.strategy_id, f.exec_id, null,
                f.fill_quantity, f.last_px, null, null, null, f.multiplier,
                f.state[1], f.state[2], f.state[3], f.state[4], f.fees
            from folded f
        )
        insert into positions
        select
            p_shard, f.account, f.symbol, f.state[1], f.state[2], f.state[3], f.state[4], f.fees, f.multiplier,
            f.base_currency, f.quote_currency, f.occurred_at, f.position
        from folded f
        where f.is_last
        on conflict (account, symbol) do update set
            quantity = excluded.quantity,
            cost = excluded.cost,
            realized_pnl = excluded.realized_pnl,
            cycle = excluded.cycle,
            fees = excluded.fees,
            multiplier = excluded.multiplier,
            base_currency = excluded.base_currency,
            quote_currency = excluded.quote_currency,
            updated_at = excluded.updated_at,
            last_position = excluded.last_position;

        exit when v_next > p_to;
        v_after := v_next;

        select
            e.aggregate_id as account,
            e.position,
            e.type,
            e.subject as order_id,
            e.payload ->> 'symbol' as symbol,
            e.payload ->> 'strategy_id' as strategy_id,
            e.payload ->> 'exec_id' as exec_id,
            e.payload ->> 'exec_ref_id' as exec_ref_id,
            e.payload ->> 'side' as side,
            (e.payload ->> 'last_qty')::numeric as last_qty,
            (e.payload ->> 'last_px')::numeric as last_px,
            (e.payload ->> 'fee')::numeric as fee,
            e.payload ->> 'fee_currency' as fee_currency,
            (e.payload ->> 'previous_qty')::numeric as previous_qty,
            (e.payload ->> 'previous_px')::numeric as previous_px,
            (e.payload ->> 'previous_fee')::numeric as previous_fee,
            e.payload ->> 'previous_fee_currency' as previous_fee_currency,
            coalesce((e.payload ->> 'multiplier')::numeric, 1) as multiplier,
            e.payload ->> 'base_currency' as base_currency,
            e.payload ->> 'quote_currency' as quote_currency,
            coalesce((e.payload ->> 'is_reversal')::boolean, false) as is_reversal,
            e.occurred_at
        into strict v_said
        from log e
        where e.shard = p_shard
            and e.position = v_next;

        select array[p.quantity, p.cost, p.realized_pnl, p.cycle], p.fees
        into v_state, v_fees
        from positions p
        where p.account = v_said.account and p.symbol = v_said.symbol;

        -- The fill that it adds, and the fill that it reverses.
        v_quantity := trading.signed_quantity(
            v_said.side, v_said.last_qty, v_said.fee, v_said.fee_currency, v_said.base_currency
        );
        if v_said.type = 'FillBusted' then
            v_previous_quantity := v_quantity;
            v_quantity := null;
            v_fees := trading.add_fee(v_fees, null, v_said.fee_currency, -v_said.fee);
        else
            v_previous_quantity := trading.signed_quantity(
                v_said.side, v_said.previous_qty, v_said.previous_fee, v_said.previous_fee_currency, v_said.base_currency
            );
            v_fees := trading.add_fee(v_fees, null, v_said.previous_fee_currency, -v_said.previous_fee);
            v_fees := trading.add_fee(v_fees, null, v_said.fee_currency, v_said.fee);
        end if;

        v_amended := null;
        if v_said.is_reversal then
            v_state := trading.net_fill(
                v_state,
                null,
                -v_previous_quantity,
                coalesce(v_said.previous_px, v_said.last_px) * v_said.multiplier
            );
            if v_quantity is not null then
                v_state := trading.net_fill(v_state, null, v_quantity, v_said.last_px * v_said.multiplier);
            end if;
        else
            -- The entry that added the fill: its OrderFilled, or the last correction that was booked on arrival.
            select e.position
            into v_amended
            from position_entries e
            where e.account = v_said.account
                and e.symbol = v_said.symbol
                and e.order_id = v_said.order_id
                and e.fill_quantity is not null
                and e.amended_position is null
                and coalesce(e.exec_ref_id, e.exec_id) = v_said.exec_ref_id
            order by e.position desc
            limit 1;
            if v_amended is null then
                raise exception 'position % refers to a fill that does not exist: % of order %',
                    v_next, v_said.exec_ref_id, v_said.order_id
                    using errcode = 'FB013';
            end if;

            -- Finds v_first, such that the entry before it agrees with the log as it is now.
            v_first := v_amended;
            loop
                select min(e.amended_position)
                into v_earlier
                from position_entries e
                where e.account = v_said.account
                    and e.symbol = v_said.symbol
                    and e.position > v_first
                    and e.amended_position < v_first;
                exit when v_earlier is null;
                v_first := v_earlier;
            end loop;

            select array[e.quantity, e.cost, e.realized_pnl, e.cycle]
            into v_state
            from position_entries e
            where e.account = v_said.account
                and e.symbol = v_said.symbol
                and e.position < v_first
            order by e.position desc
            limit 1;

            with amendment as materialized (
                select distinct on (e.amended_position)
                    e.amended_position,
                    e.fill_quantity,
                    e.last_px * e.multiplier as unit_cost
                from position_entries e
                where e.account = v_said.account
                    and e.symbol = v_said.symbol
                    and e.position > v_first
                    and e.amended_position is not null
                    and e.amended_position <> v_amended
                order by e.amended_position, e.position desc
            ),
            booked as materialized (
                select e.*
                from position_entries e
                where e.account = v_said.account
                    and e.symbol = v_said.symbol
                    and e.position >= v_first
                    and e.amended_position is null
            ),
            leg as (
                select b.position, 1 as number, b.reversed_quantity as quantity, b.reversed_px * b.multiplier as unit_cost
                from booked b
                where b.reversed_quantity is not null
                union all
                select
                    b.position,
                    2,
                    case
                        when b.position = v_amended then v_quantity
                        when a.amended_position is not null then a.fill_quantity
                        else b.fill_quantity
                    end,
                    case
                        when b.position = v_amended then v_said.last_px * v_said.multiplier
                        when a.amended_position is not null then a.unit_cost
                        else b.last_px * b.multiplier
                    end
                from booked b
                left join amendment a on a.amended_position = b.position
                where b.fill_quantity is not null
            )
            select
                coalesce(
                    trading.net_position(v_state, l.quantity, l.unit_cost order by l.position, l.number)
                        filter (where l.quantity is not null),
                    v_state,
                    '{0,0,0,0}'
                )
            into v_state
            from leg l;
        end if;

        insert into position_entries
        values (
            p_shard, v_said.account, v_said.symbol, v_next, v_said.type, v_said.order_id, v_said.strategy_id,
            v_said.exec_id, v_said.exec_ref_id,
            v_quantity, case when v_quantity is not null then v_said.last_px end,
            case when v_said.is_reversal then -v_previous_quantity end,
            case when v_said.is_reversal then coalesce(v_said.previous_px, v_said.last_px) end,
            v_amended, v_said.multiplier,
            v_state[1], v_state[2], v_state[3], v_state[4], v_fees
        );
        update positions p
        set
            quantity = v_state[1],
            cost = v_state[2],
            realized_pnl = v_state[3],
            cycle = v_state[4],
            fees = v_fees,
            multiplier = v_said.multiplier,
            base_currency = v_said.base_currency,
            quote_currency = v_said.quote_currency,
            updated_at = v_said.occurred_at,
            last_position = v_next
        where p.account = v_said.account and p.symbol = v_said.symbol;
    end loop;
end
$$;
