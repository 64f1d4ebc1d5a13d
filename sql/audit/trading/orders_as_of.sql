-- An order as of a log position is its last event up to there, which carries the order's state, plus the fields that
-- only OrderCreated or OrderDenied has. audit.order_state_differences checks the states that events carry.
create or replace function audit.orders_as_of(
    p_shard integer, p_log_position bigint, p_account text default null, p_order_id text default null
)
returns table (
    account text, order_id text, strategy_id text, symbol text, side text, order_type text, time_in_force text,
    expire_at timestamptz, post_only boolean, reduce_only boolean, trailing_offset numeric, display_quantity numeric,
    cash_quantity numeric, group_kind text, group_id text, quantity numeric, limit_price numeric, stop_price numeric,
    status text, working_state text, pending_request text, requested_quantity numeric, requested_limit_price numeric,
    requested_stop_price numeric, is_open boolean, cum_qty numeric, cum_cost numeric, leaves_qty numeric,
    leaves_cash numeric, avg_px numeric, overfill_qty numeric, fees jsonb, broker_order_id text, reason text,
    doubts jsonb, denied_limit text, denied_observed text, created_at timestamptz, updated_at timestamptz,
    created_log_position bigint, last_log_position bigint, sequence bigint, last_event text,
    last_recorded_at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
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
            max(e.position) filter (where e.type = 'OrderDenied') as denied_position,
            max(e.position) as last_position,
            min(e.occurred_at) filter (where e.type = 'OrderCreated') as created_at,
            max(e.occurred_at) as updated_at
        from trading.log e
        where e.shard = p_shard
            and e.position <= p_log_position
            and (p_account is null or e.aggregate_id = p_account)
            and (p_order_id is null or e.subject = p_order_id)
            and e.payload ? 'strategy_id' -- as every event has about an order that the book knows
        group by e.aggregate_id, e.subject
    ),
    standing as (
        select
            t.*,
            created.payload as created,
            denied.payload as denied,
            last.sequence,
            last.type as last_event,
            last.recorded_at,
            last.payload as last,
            coalesce(last.payload ->> 'working_state', 'CREATED') as working_state,
            coalesce(last.payload ->> 'pending_request', 'NONE') as pending_request,
            coalesce((last.payload ->> 'cum_qty')::numeric, 0) as cum_qty,
            coalesce((last.payload ->> 'cum_cost')::numeric, 0) as cum_cost,
            coalesce(
                (last.payload ->> case last.type when 'OrderCreated' then 'quantity' else 'leaves_qty' end)::numeric, 0
            ) as leaves_qty,
            coalesce(
                (last.payload ->> case last.type when 'OrderCreated' then 'cash_quantity' else 'leaves_cash' end)::numeric,
                0
            ) as leaves_cash
        from touched t
        left join trading.log created on created.shard = p_shard and created.position = t.created_position
        left join trading.log denied on denied.shard = p_shard and denied.position = t.denied_position
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
        coalesce((s.created ->> 'post_only')::boolean, false),
        coalesce((s.created ->> 'reduce_only')::boolean, false),
        (s.created ->> 'trailing_offset')::numeric,
        (s.created ->> 'display_quantity')::numeric,
        (s.created ->> 'cash_quantity')::numeric,
        s.created -> 'group' ->> 'kind',
        s.created -> 'group' ->> 'id',
        coalesce((s.last ->> 'quantity')::numeric, 0),
        (s.last ->> 'limit_price')::numeric,
        (s.last ->> 'stop_price')::numeric,
        trading.order_status(s.working_state, s.pending_request),
        s.working_state,
        s.pending_request,
        (s.last ->> 'requested_quantity')::numeric,
        (s.last ->> 'requested_limit_price')::numeric,
        (s.last ->> 'requested_stop_price')::numeric,
        s.leaves_qty > 0 or s.leaves_cash > 0,
        s.cum_qty,
        s.cum_cost,
        s.leaves_qty,
        s.leaves_cash,
        trading.average(s.cum_cost, s.cum_qty),
        coalesce((s.last ->> 'overfill_qty')::numeric, 0),
        coalesce(s.last -> 'fees', '{}'),
        s.last ->> 'broker_order_id',
        s.last ->> 'reason',
        s.last -> 'doubts',
        s.denied ->> 'limit',
        s.denied ->> 'observed',
        s.created_at,
        s.updated_at,
        s.created_position,
        s.last_position,
        s.sequence,
        s.last_event,
        s.recorded_at
    from standing s
    order by s.account, s.order_id;
end
$$;
comment on function audit.orders_as_of is
    'The orders of a shard after the events up to a log position, read from the log itself: all of them, those of one account, or one.';
