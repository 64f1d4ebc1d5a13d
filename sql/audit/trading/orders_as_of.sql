-- Orders folded from what their events say, independently of the projection and of the engine. What traded is summed;
-- of what replaces what came before (terms, requests, rests, an end) the latest event counts. docs/domain.md has the rules.
create or replace function audit.orders_as_of(
    p_shard integer, p_log_position bigint, p_account text default null, p_order_id text default null
)
returns table (
    account text, order_id text, strategy_id text, symbol text, side text, order_type text, time_in_force text,
    expire_at timestamptz, quantity numeric, limit_price numeric, stop_price numeric, status text, working_state text,
    pending_request text, is_open boolean, cum_qty numeric, cum_cost numeric, leaves_qty numeric, avg_px numeric,
    overfill_qty numeric, fees jsonb, created_log_position bigint, last_log_position bigint, last_event text,
    last_recorded_at timestamptz
)
language plpgsql
stable
-- One order is found by an index, all of them by reading the shard: a plan for each.
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
begin
    return query
    with event as materialized (
        select
            e.aggregate_id as account,
            e.subject as order_id,
            e.position,
            e.type,
            e.payload,
            e.recorded_at
        from trading.log e
        where e.shard = p_shard
            and e.position <= p_log_position
            and (p_account is null or e.aggregate_id = p_account)
            and (p_order_id is null or e.subject = p_order_id)
            and e.payload ? 'side' -- as every event has about an order that the book knows
    ),
    -- A fill adds, a bust takes away, a correction takes away what was there and adds what it says.
    traded as (
        select
            e.account,
            e.order_id,
            sum(x.quantity) as cum_qty,
            sum(x.quantity * x.price) as cum_cost,
            trading.fee_totals(null, x.fee_currency, x.fee order by e.position, x.number) as fees
        from event e
        cross join lateral (
            values
                (
                    1, -(e.payload ->> 'previous_qty')::numeric, (e.payload ->> 'previous_px')::numeric,
                    -(e.payload ->> 'previous_fee')::numeric, e.payload ->> 'previous_fee_currency'
                ),
                (
                    2, case e.type when 'FillBusted' then -1 else 1 end * (e.payload ->> 'last_qty')::numeric,
                    (e.payload ->> 'last_px')::numeric,
                    case e.type when 'FillBusted' then -1 else 1 end * (e.payload ->> 'fee')::numeric,
                    e.payload ->> 'fee_currency'
                )
        ) x (number, quantity, price, fee, fee_currency)
        where e.type in ('OrderFilled', 'FillBusted', 'FillCorrected')
            and x.quantity is not null
        group by e.account, e.order_id
    ),
    latest as (
        select
            e.account,
            e.order_id,
            (array_agg(e.payload order by e.position) filter (where e.type = 'OrderCreated'))[1] as created,
            min(e.position) filter (where e.type = 'OrderCreated') as created_position,
            (
                array_agg(e.payload order by e.position desc)
                    filter (where e.type in ('OrderCreated', 'OrderReplaced', 'OrderRestated'))
            )[1] as terms,
            case (
                array_agg(e.type order by e.position desc)
                    filter (where e.type in ('OrderCanceled', 'OrderExpired', 'OrderRejected', 'OrderDenied'))
            )[1]
                when 'OrderCanceled' then 'CANCELED'
                when 'OrderExpired' then 'EXPIRED'
                when 'OrderRejected' then 'REJECTED'
                when 'OrderDenied' then 'DENIED'
            end as final_state,
            coalesce(max(e.position) filter (where e.type = 'OrderSuspended'), 0) as suspended_position,
            coalesce(max(e.position) filter (where e.type = 'OrderDoneForDay'), 0) as done_position,
            coalesce(max(e.position) filter (
                where e.type = 'OrderRestated' and coalesce((e.payload ->> 'resumes')::boolean, true)
            ), 0) as resumed_position,
            bool_or(e.type in ('OrderFilled', 'OrderAccepted', 'OrderReplaced')) as is_accepted,
            bool_or(e.type = 'OrderSubmitted') as is_submitted,
            -- Events do not repeat the value that their type implies.
            (
                array_agg(
                    coalesce(
                        e.payload ->> 'pending_request',
                        case
                            when e.type in ('OrderCancelRequested', 'OrderCancelPending') then 'CANCEL'
                            when e.type in ('OrderReplaceRequested', 'OrderReplacePending') then 'REPLACE'
                            else 'NONE'
                        end
                    )
                    order by e.position desc
                )
                filter (
                    where e.payload ? 'pending_request'
                        or e.type in (
                            'OrderCancelRequested', 'OrderCancelPending', 'OrderCancelRejected',
                            'OrderReplaceRequested', 'OrderReplacePending', 'OrderReplaced', 'OrderReplaceRejected'
                        )
                )
            )[1] as pending_request,
            max(e.position) as last_position,
            (array_agg(e.type order by e.position desc))[1] as last_event,
            max(e.recorded_at) as last_recorded_at
        from event e
        group by e.account, e.order_id
    ),
    told as (
        select
            l.*,
            l.created ->> 'time_in_force' as time_in_force,
            (l.terms ->> 'quantity')::numeric as quantity,
            coalesce(t.cum_qty, 0) as cum_qty,
            coalesce(t.cum_cost, 0) as cum_cost,
            coalesce(t.fees, '{}') as fees,
            l.suspended_position > l.resumed_position as is_suspended,
            l.done_position > l.resumed_position as is_done_for_day
        from latest l
        left join traded t on t.account = l.account and t.order_id = l.order_id
    ),
    standing as (
        select
            t.*,
            t.final_state is not null or t.is_done_for_day and t.time_in_force = 'DAY' as has_ended,
            case
                when t.final_state is not null then t.final_state
                when t.is_done_for_day then 'DONE_FOR_DAY'
                when t.cum_qty >= t.quantity then 'FILLED'
                when t.is_suspended then 'SUSPENDED'
                when t.cum_qty > 0 then 'PARTIALLY_FILLED'
                when t.is_accepted then 'NEW'
                when t.is_submitted then 'PENDING_NEW'
                else 'CREATED'
            end as working_state,
            case when t.final_state is null then coalesce(t.pending_request, 'NONE') else 'NONE' end as pending
        from told t
    )
    select
        s.account,
        s.order_id,
        s.created ->> 'strategy_id',
        s.created ->> 'symbol',
        s.created ->> 'side',
        s.created ->> 'order_type',
        s.time_in_force,
        (s.created ->> 'expire_at')::timestamptz,
        s.quantity,
        coalesce(s.terms ->> 'limit_price', s.created ->> 'limit_price')::numeric,
        coalesce(s.terms ->> 'stop_price', s.created ->> 'stop_price')::numeric,
        trading.order_status(s.working_state, s.pending),
        s.working_state,
        s.pending,
        s.cum_qty < s.quantity and not s.has_ended,
        s.cum_qty,
        s.cum_cost,
        case when s.has_ended then 0 else greatest(s.quantity - s.cum_qty, 0) end,
        trading.average_price(s.cum_cost, s.cum_qty),
        greatest(s.cum_qty - s.quantity, 0),
        s.fees,
        s.created_position,
        s.last_position,
        s.last_event,
        s.last_recorded_at
    from standing s
    order by s.account, s.order_id;
end
$$;
comment on function audit.orders_as_of is
    'The orders of a shard after the events up to a log position, folded from the log itself: all of them, those of one account, or one.';
