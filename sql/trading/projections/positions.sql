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
-- Every position, and everything that made it: one row per account and symbol, and a journal.
--
-- An entry of the journal has the position after it, and is never rewritten. So a position as of any position of the log
-- is the last entry up to there. A range of fills and adjustments is folded in one pass, from the totals where it begins.
--
-- A bust or a correction amends a fill of the position's window: the fill is removed, or replaced in its place, and what
-- came after it is folded again. The fold begins at the entry before the fill, if nothing since has amended a fill at or
-- before it. Otherwise it begins before that fill, and so on; only the last 128 fills can be amended, so this ends soon. A
-- bust or correction of an older fill (is_reversal) is booked when it arrives. No fold begins before a split.

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
    kind text not null,
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
    order_id text,
    strategy_id text,
    exec_id text,
    exec_ref_id text,
    fill_quantity numeric,
    fill_value numeric,
    reversed_quantity numeric,
    reversed_value numeric,
    amended_position bigint,
    quantity numeric not null,
    cost numeric not null,
    realized_pnl numeric not null,
    cycle bigint not null,
    fees jsonb not null,
    multiplier numeric not null,
    kind text not null,
    base_currency text,
    quote_currency text,
    primary key (account, symbol, position)
);

-- Unique, because other indexes are built after a rebuild, and the rebuild needs this one.
create unique index position_amendments on position_entries (account, symbol, position, amended_position)
where amended_position is not null;

comment on table positions is 'Positions at average cost, one per account and symbol. Disposable: `foldbook projections rebuild positions`.';
comment on column positions.quantity is 'Negative while short. A fee in the base currency of a SPOT instrument is taken from it.';
comment on column positions.cost is 'Exact sum of what the quantity that is held has cost: quantity * trading.unit_cost of its fills, or as the broker rounded it.';
comment on column positions.realized_pnl is 'Since the account was opened, gross of fees: realized_pnl - cost is the money that the fills have brought.';
comment on column positions.cycle is 'How many times the position was opened; a flip ends one cycle and begins the next.';
comment on column positions.fees is 'Since the account was opened: amounts by currency.';
comment on column positions.multiplier is 'Like the kind and the currencies, as the last fill or adjustment told it. A currency is null while it is unknown.';
comment on column positions.last_position is 'Position of the last event that changed the row.';
comment on table position_entries is 'Every execution, every adjustment, and every currency that became known, in the order of the log, and the position after it. Rows are never rewritten. Disposable: `foldbook projections rebuild positions`.';
comment on column position_entries.position is 'Position of the event in the log.';
comment on column position_entries.type is 'The type of the event.';
comment on column position_entries.order_id is 'Null: there is no order of ours; likewise strategy_id.';
comment on column position_entries.exec_ref_id is 'The exec_id of the fill that a bust or a correction refers to.';
comment on column position_entries.fill_quantity is 'The quantity that it adds, which costs fill_value: signed, less a fee that is taken from it. Null: it adds none.';
comment on column position_entries.reversed_quantity is 'The quantity of the fill that it reverses, with the opposite sign, like reversed_value. Null: it reverses none.';
comment on column position_entries.amended_position is 'The entry whose fill it removes or replaces. Null: it amends none.';
comment on column position_entries.quantity is 'The position after it, like the columns that follow.';

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
    v_row record;
    v_amended bigint;
    v_first bigint;
    v_earlier bigint;
    v_state numeric[];
    v_fees jsonb;
begin
    -- Fills and adjustments are folded all at once, up to the next event of another kind.
    foreach v_next in array array(
        select e.position
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and case e.type
                when 'AccountAdjusted' then e.payload ->> 'kind' = 'SPLIT'
                when 'InstrumentDefined' then e.payload ? 'put_right'
                else e.type in ('FillBusted', 'FillCorrected', 'ExecutionBusted', 'ExecutionCorrected')
            end
        order by e.position
    ) || (p_to + 1)
    loop
        with said as (
            select
                e.aggregate_id as account,
                e.payload ->> 'symbol' as symbol,
                e.position,
                e.type,
                e.payload ->> 'order_id' as order_id,
                e.payload ->> 'strategy_id' as strategy_id,
                e.payload ->> 'side' as side,
                e.payload ->> 'exec_id' as exec_id,
                (e.payload ->> 'last_qty')::numeric as last_qty,
                (e.payload ->> 'last_px')::numeric as last_px,
                (e.payload ->> 'gross_amount')::numeric as gross_amount,
                (e.payload ->> 'fee')::numeric as fee,
                e.payload ->> 'fee_currency' as fee_currency,
                coalesce((e.payload ->> 'multiplier')::numeric, 1) as multiplier,
                coalesce(e.payload ->> 'instrument_kind', 'SPOT') as kind,
                e.payload ->> 'base_currency' as base_currency,
                e.payload ->> 'quote_currency' as quote_currency,
                case e.type when 'AccountAdjusted' then (e.payload ->> 'quantity')::numeric end as adjusted_quantity,
                case e.type when 'AccountAdjusted' then (e.payload ->> 'value')::numeric end as adjusted_value,
                e.occurred_at
            from log e
            where e.shard = p_shard
                and e.position > v_after
                and e.position < v_next
                and (
                    e.type in ('OrderFilled', 'ExecutionBooked')
                    or e.type = 'AccountAdjusted' and e.payload ? 'quantity'
                )
            offset 0 -- so that no expression above is evaluated twice
        ),
        priced as (
            select
                s.*,
                trading.unit_cost(s.last_px, s.multiplier, s.kind) as unit_cost,
                trading.fee_in_kind(s.fee, s.fee_currency, s.base_currency, s.kind) as fee_in_kind
            from said s
            offset 0
        ),
        fill as (
            select
                p.*,
                coalesce(
                    p.adjusted_quantity,
                    trading.signed_quantity(p.side, p.last_qty, p.fee, p.fee_currency, p.base_currency, p.kind)
                ) as fill_quantity,
                coalesce(
                    p.adjusted_value,
                    trading.fill_value(p.side, p.last_qty, p.unit_cost, p.gross_amount, p.fee_in_kind, p.kind)
                ) as fill_value,
                row_number() over of_symbol as number,
                lead(p.position) over of_symbol is null as is_last
            from priced p
            window of_symbol as (partition by p.account, p.symbol order by p.position)
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
                    f.fill_value
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
                p_shard, f.account, f.symbol, f.position, f.type, f.order_id, f.strategy_id, f.exec_id, null,
                f.fill_quantity, f.fill_value, null, null, null,
                f.state[1], f.state[2], f.state[3], f.state[4], f.fees,
                f.multiplier, f.kind, f.base_currency, f.quote_currency
            from folded f
        )
        insert into positions
        select
            p_shard, f.account, f.symbol, f.state[1], f.state[2], f.state[3], f.state[4], f.fees, f.multiplier,
            f.kind, f.base_currency, f.quote_currency, f.occurred_at, f.position
        from folded f
        where f.is_last
        on conflict (account, symbol) do update set
            quantity = excluded.quantity,
            cost = excluded.cost,
            realized_pnl = excluded.realized_pnl,
            cycle = excluded.cycle,
            fees = excluded.fees,
            multiplier = excluded.multiplier,
            kind = excluded.kind,
            base_currency = excluded.base_currency,
            quote_currency = excluded.quote_currency,
            updated_at = excluded.updated_at,
            last_position = excluded.last_position;

        exit when v_next > p_to;
        v_after := v_next;

        select
            e.aggregate_id as account,
            e.type,
            e.occurred_at,
            s.*,
            b.quantity as fill_quantity,
            b.value as fill_value,
            r.quantity as previous_quantity,
            r.value as previous_value
        into strict v_said
        from log e
        cross join lateral jsonb_to_record(e.payload) s (
            symbol text, order_id text, strategy_id text, exec_id text, exec_ref_id text, is_reversal boolean,
            fee numeric, fee_currency text, previous_fee numeric, previous_fee_currency text, base_currency text,
            quote_currency text
        )
        cross join lateral trading.booking(e.payload) b
        cross join lateral trading.booking(e.payload, e.type in ('FillCorrected', 'ExecutionCorrected')) r
        where e.shard = p_shard
            and e.position = v_next;

        select p.*
        into v_row
        from positions p
        where p.account = v_said.account and p.symbol = v_said.symbol;
        continue when not found and v_said.type = 'InstrumentDefined';
        v_state := array[v_row.quantity, v_row.cost, v_row.realized_pnl, v_row.cycle];
        v_fees := v_row.fees;
        v_amended := null;

        if v_said.type = 'InstrumentDefined' then
            v_row.base_currency := coalesce(v_row.base_currency, v_said.base_currency);
            v_row.quote_currency := coalesce(v_row.quote_currency, v_said.quote_currency);
        elsif v_said.type = 'AccountAdjusted' then
            -- A split. Without a position there is nothing to split, and the row says just that.
            v_state := array_replace(v_state, null, 0);
            v_state[1] := v_state[1] + v_said.fill_quantity;
            v_said.fill_quantity := null;
            v_said.fill_value := null;
        elsif v_said.type in ('FillBusted', 'ExecutionBusted') then
            v_said.fill_quantity := null;
            v_said.fill_value := null;
            v_fees := trading.add_fee(v_fees, null, v_said.fee_currency, -v_said.fee);
        else
            v_fees := trading.add_fee(v_fees, null, v_said.previous_fee_currency, -v_said.previous_fee);
            v_fees := trading.add_fee(v_fees, null, v_said.fee_currency, v_said.fee);
        end if;

        if v_said.is_reversal then
            v_state := trading.net_fill(v_state, null, -v_said.previous_quantity, -v_said.previous_value);
            if v_said.fill_quantity is not null then
                v_state := trading.net_fill(v_state, null, v_said.fill_quantity, v_said.fill_value);
            end if;
        elsif v_said.exec_ref_id is not null then
            -- The entry that added the fill: that of the fill itself, or the last correction that was booked on arrival.
            select e.position
            into v_amended
            from position_entries e
            where e.account = v_said.account
                and e.symbol = v_said.symbol
                and e.order_id is not distinct from v_said.order_id
                and e.fill_quantity is not null
                and e.amended_position is null
                and coalesce(e.exec_ref_id, e.exec_id) = v_said.exec_ref_id
            order by e.position desc
            limit 1;
            if v_amended is null then
                raise exception 'position % refers to a fill that does not exist: % of order %',
                    v_next, v_said.exec_ref_id, coalesce(v_said.order_id, 'none')
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

            with entry as materialized (
                select e.*
                from position_entries e
                where e.account = v_said.account
                    and e.symbol = v_said.symbol
                    and e.position >= v_first
            ),
            amendment as materialized (
                select distinct on (a.position) a.*
                from (
                    select e.amended_position, e.position, e.fill_quantity, e.fill_value
                    from entry e
                    union all
                    select v_amended, v_next, v_said.fill_quantity, v_said.fill_value
                ) a (position, amending_position, quantity, value)
                where a.position is not null
                order by a.position, a.amending_position desc
            ),
            leg as (
                select e.position, 1 as number, e.reversed_quantity as quantity, e.reversed_value as value
                from entry e
                union all
                select e.position, 2, e.fill_quantity, e.fill_value
                from entry e
                where e.amended_position is null
                    and not exists (select from amendment a where a.position = e.position)
                union all
                select a.position, 2, a.quantity, a.value
                from amendment a
            )
            select
                coalesce(
                    trading.net_position(v_state, l.quantity, l.value order by l.position, l.number)
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
            v_said.exec_id, v_said.exec_ref_id, v_said.fill_quantity, v_said.fill_value,
            case when v_said.is_reversal then -v_said.previous_quantity end,
            case when v_said.is_reversal then -v_said.previous_value end,
            v_amended, v_state[1], v_state[2], v_state[3], v_state[4], coalesce(v_fees, '{}'),
            coalesce(v_row.multiplier, 1), coalesce(v_row.kind, 'SPOT'), v_row.base_currency, v_row.quote_currency
        )
        returning * into v_row;
        insert into positions
        values (
            p_shard, v_row.account, v_row.symbol, v_row.quantity, v_row.cost, v_row.realized_pnl, v_row.cycle,
            v_row.fees, v_row.multiplier, v_row.kind, v_row.base_currency, v_row.quote_currency, v_said.occurred_at,
            v_next
        )
        on conflict (account, symbol) do update set
            (
                quantity, cost, realized_pnl, cycle, fees, base_currency, quote_currency, updated_at, last_position
            ) = (
                excluded.quantity, excluded.cost, excluded.realized_pnl, excluded.cycle, excluded.fees,
                excluded.base_currency, excluded.quote_currency, excluded.updated_at, excluded.last_position
            );
    end loop;
end
$$;
