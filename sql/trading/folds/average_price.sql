create or replace function trading.average_price(p_cost numeric, p_quantity numeric)
returns numeric
language sql
immutable parallel safe
return case
    -- FIX AvgPx (6) is 0 while nothing has traded.
    when p_quantity = 0 then 0
    -- A quotient has as many digits after the point as its factors, so one of them is given enough.
    else round(p_cost * 1.000000000000000000000 / p_quantity, 18)
end;
comment on function trading.average_price is 'Cost per unit, rounded half up to 18 digits after the point.';
