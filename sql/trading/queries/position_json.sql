-- p_position has the columns of read.positions: a record, because read tables are dropped and made again.
create or replace function trading.position_json(p_position record)
returns json
language plpgsql
stable
as $$
begin
    return json_build_object(
        'account', p_position.account,
        'symbol', p_position.symbol,
        'quantity', eventstore.plain(p_position.quantity),
        'avg_px', eventstore.plain(
            trading.average(p_position.cost, p_position.quantity, p_position.multiplier)
        ),
        'cost', eventstore.plain(p_position.cost),
        'realized_pnl', eventstore.plain(p_position.realized_pnl),
        'fees', p_position.fees,
        'cycle', p_position.cycle,
        'multiplier', eventstore.plain(p_position.multiplier),
        'base_currency', p_position.base_currency,
        'quote_currency', p_position.quote_currency,
        'updated_at', eventstore.rfc3339(p_position.updated_at),
        'last_position', p_position.last_position
    );
end
$$;
comment on function trading.position_json is 'A position as HTTP shows it.';
