-- p_order is a row of read.orders: a record, because read tables are dropped and made again.
create or replace function trading.order_json(p_order record)
returns json
language plpgsql
stable
as $$
begin
    return json_build_object(
        'order_id', p_order.order_id,
        'account', p_order.account,
        'strategy_id', p_order.strategy_id,
        'symbol', p_order.symbol,
        'side', p_order.side,
        'order_type', p_order.order_type,
        'time_in_force', p_order.time_in_force,
        'expire_at', eventstore.rfc3339(p_order.expire_at),
        'post_only', p_order.post_only,
        'reduce_only', p_order.reduce_only,
        'trailing_offset', eventstore.plain(p_order.trailing_offset),
        'display_quantity', eventstore.plain(p_order.display_quantity),
        'cash_quantity', eventstore.plain(p_order.cash_quantity),
        'group', case
            when p_order.group_id is not null
                then json_build_object('kind', p_order.group_kind, 'id', p_order.group_id)
        end,
        'quantity', eventstore.plain(p_order.quantity),
        'limit_price', eventstore.plain(p_order.limit_price),
        'stop_price', eventstore.plain(p_order.stop_price),
        'status', trading.order_status(p_order.working_state, p_order.pending_request),
        'pending_request', p_order.pending_request,
        'requested', case
            when p_order.requested_quantity is not null then json_build_object(
                'quantity', eventstore.plain(p_order.requested_quantity),
                'limit_price', eventstore.plain(p_order.requested_limit_price),
                'stop_price', eventstore.plain(p_order.requested_stop_price)
            )
        end,
        'cum_qty', eventstore.plain(p_order.cum_qty),
        'leaves_qty', eventstore.plain(p_order.leaves_qty),
        'leaves_cash', eventstore.plain(p_order.leaves_cash),
        'avg_px', eventstore.plain(trading.average(p_order.cum_cost, p_order.cum_qty)),
        'overfill_qty', eventstore.plain(p_order.overfill_qty),
        'fees', p_order.fees,
        'broker_order_id', p_order.broker_order_id,
        'reason', p_order.reason,
        'doubts', case when p_order.doubts is null then '[]'::json else trading.doubts_json(p_order.doubts) end,
        'denial', case
            when p_order.denied_limit is not null
                then json_build_object('limit', p_order.denied_limit, 'observed', p_order.denied_observed)
        end,
        'created_at', eventstore.rfc3339(p_order.created_at),
        'updated_at', eventstore.rfc3339(p_order.updated_at),
        'last_position', p_order.last_position,
        'sequence', p_order.sequence
    );
end
$$;
comment on function trading.order_json is 'An order as HTTP shows it.';
