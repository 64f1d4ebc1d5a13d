create or replace function audit.order_as_of(
    p_account text, p_order_id text, p_log_position bigint default 9223372036854775807
)
returns table (
    status text, working_state text, pending_request text, quantity numeric, limit_price numeric, stop_price numeric,
    cum_qty numeric, leaves_qty numeric, leaves_cash numeric, avg_px numeric, overfill_qty numeric, fees jsonb,
    broker_order_id text, reason text, last_event text, last_log_position bigint, last_recorded_at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        o.status,
        o.working_state,
        o.pending_request,
        o.quantity,
        o.limit_price,
        o.stop_price,
        o.cum_qty,
        o.leaves_qty,
        o.leaves_cash,
        o.avg_px,
        o.overfill_qty,
        o.fees,
        o.broker_order_id,
        o.reason,
        o.last_event,
        o.last_log_position,
        o.last_recorded_at
    from audit.orders_as_of(eventstore.shard_of(p_account), p_log_position, p_account, p_order_id) o
    where p_account is not null
        and p_order_id is not null;
end
$$;
comment on function audit.order_as_of is
    'An order after the events up to a log position, read from the log itself. No row: it did not exist yet.';
