-- p_position has the columns of read.positions: a record, because read tables are dropped and made again.
create or replace function trading.position_json(p_position record, p_last_price numeric)
returns json
language plpgsql
stable
as $$
declare
    v_market_value numeric := p_position.quantity
        * trading.unit_cost(p_last_price, p_position.multiplier, p_position.kind);
begin
    return json_build_object(
        'account', p_position.account,
        'symbol', p_position.symbol,
        'kind', p_position.kind,
        'quantity', eventstore.plain(p_position.quantity),
        'avg_px', eventstore.plain(
            trading.average_price(p_position.cost, p_position.quantity, p_position.multiplier, p_position.kind)
        ),
        'cost', eventstore.plain(p_position.cost),
        'realized_pnl', eventstore.plain(p_position.realized_pnl),
        'last_price', eventstore.plain(p_last_price),
        'market_value', eventstore.plain(v_market_value),
        'unrealized_pnl', eventstore.plain(v_market_value - p_position.cost),
        'fees', p_position.fees,
        'cycle', p_position.cycle,
        'multiplier', eventstore.plain(p_position.multiplier),
        'base_currency', p_position.base_currency,
        'quote_currency', p_position.quote_currency,
        'settlement_currency', case p_position.kind
            when 'INVERSE' then p_position.base_currency
            else p_position.quote_currency
        end,
        'updated_at', eventstore.rfc3339(p_position.updated_at),
        'last_position', p_position.last_position
    );
end
$$;
comment on function trading.position_json is
    'A position as HTTP shows it, valued at the last price of its symbol, if that is known. unrealized_pnl is market_value - cost.';
