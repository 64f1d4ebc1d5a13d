-- An inverse contract is paid for in its base currency, in which the quote currency becomes cheaper while the price rises.
create or replace function trading.unit_cost(p_price numeric, p_multiplier numeric, p_kind text)
returns numeric
language sql
immutable parallel safe
return case
    when p_kind is distinct from 'INVERSE' then p_price * coalesce(p_multiplier, 1)
    when p_price = 0 then 0
    else trading.quotient(-coalesce(p_multiplier, 1), p_price, 36)
end;
comment on function trading.unit_cost is
    'What one unit of quantity costs: price * multiplier; for an INVERSE contract -multiplier / price, half to even, 36 digits after the point.';
