-- The cost of an inverse contract is its quantity of the quote currency over the price, with the opposite sign.
create or replace function trading.average_price(
    p_cost numeric, p_quantity numeric, p_multiplier numeric, p_kind text
)
returns numeric
language sql
immutable parallel safe
return case
    when p_kind = 'INVERSE' then trading.average(p_quantity * p_multiplier, -p_cost)
    else trading.average(p_cost, p_quantity, p_multiplier)
end;
comment on function trading.average_price is
    'The average price of a position: at which its quantity costs what it has cost, rounded like trading.average.';
