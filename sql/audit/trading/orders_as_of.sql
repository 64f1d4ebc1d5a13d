-- An order as of a log position is its last event up to there, which carries the order's state, plus the fields that only
-- OrderCreated has. audit.order_state_differences checks the states that events carry.
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
-- An index finds one order; all of them are found by reading the shard. Each case has its own plan.
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
begin
    return query
    with touched as materialized (
        select
            e.aggregate_id as account,
            e.subject as order_id,
            min(e.position) filter (where e.type = 'OrderCreated') as created_position,
            max(e.position) as last_position
        from trading.log e
        where e.shard = p_shard
            and e.position <= p_log_position
            and (p_account is null or e.aggregate_id = p_account)
            and (p_order_id is null or e.subject = p_order_id)
            and e.payload ? 'side' -- as every event has about an order that the book knows
        group by e.aggregate_id, e.subject
    ),
    standing as (
        select
            t.*,
            created.payload as created,
            last.type as last_event,
            last.recorded_at,
            last.payload as last,
            coalesce(last.payload ->> 'working_state', 'CREATED') as working_state,
            coalesce(last.payload ->> 'pending_request', 'NONE') as pending_request,
            coalesce((last.payload ->> 'cum_qty')::numeric, 0) as cum_qty,
            coalesce((last.payload ->> 'cum_cost')::numeric, 0) as cum_cost,
            coalesce(
                (last.payload ->> case last.type when 'OrderCreated' then 'quantity' else 'leaves_qty' end)::numeric, 0
            ) as leaves_qty
        from touched t
        left join trading.log created on created.shard = p_shard and created.position = t.created_position
        join trading.log last on last.shard = p_shard and last.position = t.last_position
    )
    select
        s.account,
        s.order_id,
        s.created ->> 'strategy_id',
        s.created ->> 'symbol',
        s.created ->> 'side',
        s.created ->> 'order_type',
        s.created ->> 'time_in_force',
        (s.created ->> 'expire_at')::timestamptz,
        (s.last ->> 'quantity')::numeric,
        (s.last ->> 'limit_price')::numeric,
        (s.last ->> 'stop_price')::numeric,
        trading.order_status(s.working_state, s.pending_request),
        s.working_state,
        s.pending_request,
        s.leaves_qty > 0,
        s.cum_qty,
        s.cum_cost,
        s.leaves_qty,
        trading.average(s.cum_cost, s.cum_qty),
        coalesce((s.last ->> 'overfill_qty')::numeric, 0),
        coalesce(s.last -> 'fees', '{}'),
        s.created_position,
        s.last_position,
        s.last_event,
        s.recorded_at
    from standing s
    order by s.account, s.order_id;
end
$$;
comment on function audit.orders_as_of is
    'The orders of a shard after the events up to a log position, read from the log itself: all of them, those of one account, or one.';
