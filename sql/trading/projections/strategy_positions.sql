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
-- The part of each position that each strategy has: one row per account, strategy and symbol. What no strategy ordered is
-- under the empty strategy.
--
-- A range of fills and adjustments is folded in one pass, from the totals where it begins. A position whose fills were
-- busted or corrected in that range is folded anew afterwards, from the log. A split multiplies every strategy's quantity
-- of the symbol, and cuts each to 18 digits: their sum may be less than the position's quantity by a last digit.

create table strategy_positions (
    shard integer not null,
    account text not null,
    strategy_id text not null,
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
    primary key (account, strategy_id, symbol)
) with (fillfactor = 50);

comment on table strategy_positions is 'Positions at average cost, one per account, strategy and symbol. Disposable: `foldbook projections rebuild strategy_positions`.';
comment on column strategy_positions.strategy_id is 'Empty: no strategy ordered it.';
comment on column strategy_positions.quantity is 'Of what the strategy traded, as if it was alone; the columns mean what those of positions mean.';
comment on column strategy_positions.last_position is 'Position of the last event that changed the row.';

create function project_strategy_positions(p_shard integer, p_from bigint, p_to bigint)
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
begin
    -- Everything else is folded at once, up to the next event that concerns all strategies.
    foreach v_next in array array(
        select e.position
        from log e
        where e.shard = p_shard
            and e.position > p_from
            and e.position <= p_to
            and (
                e.type = 'AccountAdjusted' and e.payload ->> 'kind' = 'SPLIT'
                or e.type = 'InstrumentDefined' and e.payload ? 'put_right'
            )
        order by e.position
    ) || (p_to + 1)
    loop
        with said as (
            select
                e.aggregate_id as account,
                coalesce(e.payload ->> 'strategy_id', '') as strategy_id,
                e.payload ->> 'symbol' as symbol,
                e.position,
                e.payload ->> 'side' as side,
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
                ) as quantity,
                coalesce(
                    p.adjusted_value,
                    trading.fill_value(p.side, p.last_qty, p.unit_cost, p.gross_amount, p.fee_in_kind, p.kind)
                ) as value,
                row_number() over of_position as number,
                lead(p.position) over of_position is null as is_last
            from priced p
            window of_position as (partition by p.account, p.strategy_id, p.symbol order by p.position)
        ),
        folded as (
            select
                f.account,
                f.strategy_id,
                f.symbol,
                trading.net_position(
                    case
                        when f.number = 1 then (
                            select array[p.quantity, p.cost, p.realized_pnl, p.cycle]
                            from strategy_positions p
                            where p.account = f.account and p.strategy_id = f.strategy_id and p.symbol = f.symbol
                        )
                    end,
                    f.quantity,
                    f.value
                    order by f.position
                ) as state,
                trading.fee_totals(
                    case
                        when f.number = 1 then (
                            select p.fees
                            from strategy_positions p
                            where p.account = f.account and p.strategy_id = f.strategy_id and p.symbol = f.symbol
                        )
                    end,
                    f.fee_currency,
                    f.fee
                    order by f.position
                ) as fees,
                max(f.multiplier) filter (where f.is_last) as multiplier,
                max(f.kind) filter (where f.is_last) as kind,
                max(f.base_currency) filter (where f.is_last) as base_currency,
                max(f.quote_currency) filter (where f.is_last) as quote_currency,
                max(f.occurred_at) filter (where f.is_last) as updated_at,
                max(f.position) as last_position
            from fill f
            group by f.account, f.strategy_id, f.symbol
        )
        insert into strategy_positions
        select
            p_shard, f.account, f.strategy_id, f.symbol, f.state[1], f.state[2], f.state[3], f.state[4], f.fees,
            f.multiplier, f.kind, f.base_currency, f.quote_currency, f.updated_at, f.last_position
        from folded f
        on conflict (account, strategy_id, symbol) do update set
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

        with amendment as materialized (
            select
                e.aggregate_id as account,
                coalesce(e.payload ->> 'strategy_id', '') as strategy_id,
                e.payload ->> 'symbol' as symbol,
                e.position,
                e.payload,
                case when e.type in ('FillBusted', 'ExecutionBusted') then -1 else 1 end as sign,
                e.occurred_at
            from log e
            where e.shard = p_shard
                and e.position > v_after
                and e.position < v_next
                and e.type in ('FillBusted', 'FillCorrected', 'ExecutionBusted', 'ExecutionCorrected')
        ),
        amended as materialized (
            select
                a.account,
                a.strategy_id,
                a.symbol,
                trading.fee_totals(null, c.currency, c.fee order by a.position) as fees,
                (array_agg(a.occurred_at order by a.position desc))[1] as updated_at,
                max(a.position) as last_position
            from amendment a
            cross join lateral (
                values
                    (a.payload ->> 'previous_fee_currency', -(a.payload ->> 'previous_fee')::numeric),
                    (a.payload ->> 'fee_currency', a.sign * (a.payload ->> 'fee')::numeric)
            ) c (currency, fee)
            group by a.account, a.strategy_id, a.symbol
        ),
        folded as (
            select
                a.*,
                coalesce(s.state, '{0,0,0,0}') as state
            from amended a
            cross join lateral (
                select
                    trading.booked_position(
                        null, case when f.split_to is null then f.quantity end, f.value, f.split_to, f.split_from
                        order by f.position, f.number
                    ) as state
                from trading.effective_fills(p_shard, a.account, a.symbol, v_next - 1) f
                where f.split_to is not null
                    or coalesce(f.strategy_id, '') = a.strategy_id
            ) s
        )
        update strategy_positions p
        set
            quantity = f.state[1],
            cost = f.state[2],
            realized_pnl = f.state[3],
            cycle = f.state[4],
            fees = (
                select trading.fee_totals(p.fees, c.key, c.value::numeric)
                from (select * from jsonb_each_text(f.fees) union all select null, null) c
            ),
            updated_at = case when f.last_position > p.last_position then f.updated_at else p.updated_at end,
            last_position = greatest(f.last_position, p.last_position)
        from folded f
        where p.account = f.account
            and p.strategy_id = f.strategy_id
            and p.symbol = f.symbol;

        exit when v_next > p_to;
        v_after := v_next;

        update strategy_positions p
        set
            quantity = case e.type
                when 'AccountAdjusted' then trading.split_quantity(
                    p.quantity, (e.payload ->> 'split_to')::numeric, (e.payload ->> 'split_from')::numeric
                )
                else p.quantity
            end,
            base_currency = case e.type
                when 'InstrumentDefined' then coalesce(p.base_currency, e.payload ->> 'base_currency')
                else p.base_currency
            end,
            quote_currency = case e.type
                when 'InstrumentDefined' then coalesce(p.quote_currency, e.payload ->> 'quote_currency')
                else p.quote_currency
            end,
            updated_at = e.occurred_at,
            last_position = v_next
        from log e
        where e.shard = p_shard
            and e.position = v_next
            and p.account = e.aggregate_id
            and p.symbol = e.payload ->> 'symbol';
    end loop;
end
$$;
