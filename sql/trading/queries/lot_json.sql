-- p_lot is a row of read.lots: a record, because read tables are dropped and made again.
create or replace function trading.lot_json(p_lot record)
returns json
language plpgsql
stable
as $$
begin
    return json_build_object(
        'account', p_lot.account,
        'symbol', p_lot.symbol,
        'opened_position', p_lot.opened_position,
        'opened_leg', p_lot.opened_leg,
        'order_id', p_lot.order_id,
        'exec_id', p_lot.exec_id,
        'quantity', eventstore.plain(p_lot.quantity),
        'price', eventstore.plain(p_lot.price),
        'unit_cost', eventstore.plain(p_lot.unit_cost),
        'remaining', eventstore.plain(p_lot.remaining),
        'cost', eventstore.plain(p_lot.remaining * p_lot.unit_cost),
        'realized_pnl', eventstore.plain(p_lot.realized_pnl),
        'opened_at', eventstore.rfc3339(p_lot.opened_at),
        'is_open', p_lot.closed_position is null,
        'closed_position', p_lot.closed_position,
        'closed_at', eventstore.rfc3339(p_lot.closed_at)
    );
end
$$;
comment on function trading.lot_json is 'A lot as HTTP shows it; cost is what remains of it has cost.';
