create or replace function audit.order_differences()
returns table (shard integer, account text, order_id text, problem text, in_the_log jsonb, in_the_read_table jsonb)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with expected as (
        select
            r.shard,
            o.account,
            o.order_id,
            to_jsonb(s) as row
        from audit.subscription_reach('orders') r
        cross join lateral audit.orders_as_of(r.shard, r.checkpoint) o
        cross join lateral (
            select
                o.strategy_id, o.symbol, o.side, o.order_type, o.time_in_force, o.expire_at, o.post_only, o.reduce_only,
                o.trailing_offset, o.display_quantity, o.cash_quantity, o.group_kind, o.group_id, o.quantity,
                o.limit_price, o.stop_price, o.working_state, o.pending_request, o.requested_quantity,
                o.requested_limit_price, o.requested_stop_price, o.is_open, o.cum_qty, o.cum_cost, o.leaves_qty,
                o.leaves_cash, o.overfill_qty, o.fees, o.broker_order_id, o.reason, o.doubts, o.denied_limit,
                o.denied_observed,
                o.created_at, o.updated_at, o.created_log_position as created_position,
                o.last_log_position as last_position, o.sequence
        ) s
    ),
    kept as (
        select
            o.shard,
            o.account,
            o.order_id,
            to_jsonb(s) as row
        from read.orders o
        cross join lateral (
            select
                o.strategy_id, o.symbol, o.side, o.order_type, o.time_in_force, o.expire_at, o.post_only, o.reduce_only,
                o.trailing_offset, o.display_quantity, o.cash_quantity, o.group_kind, o.group_id, o.quantity,
                o.limit_price, o.stop_price, o.working_state, o.pending_request, o.requested_quantity,
                o.requested_limit_price, o.requested_stop_price, o.is_open, o.cum_qty, o.cum_cost, o.leaves_qty,
                o.leaves_cash, o.overfill_qty, o.fees, o.broker_order_id, o.reason, o.doubts, o.denied_limit,
                o.denied_observed,
                o.created_at, o.updated_at, o.created_position, o.last_position, o.sequence
        ) s
    )
    select
        coalesce(e.shard, k.shard),
        coalesce(e.account, k.account),
        coalesce(e.order_id, k.order_id),
        case when k.row is null then 'missing' when e.row is null then 'surplus' else 'different' end,
        e.row,
        k.row
    from expected e
    full join kept k on k.shard = e.shard and k.account = e.account and k.order_id = e.order_id
    where e.row is distinct from k.row
    order by 1, 2, 3;
end
$$;
comment on function audit.order_differences is
    'Where read.orders differs from the log, up to where its projection has read: a row is missing, surplus or different. No row: all is well.';
