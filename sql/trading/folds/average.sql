-- FIX AvgPx (6) is 0 while there is nothing to average.
create or replace function trading.average(p_cost numeric, p_quantity numeric, p_multiplier numeric default 1)
returns numeric
language sql
immutable parallel safe
return case when p_quantity = 0 then 0 else trading.quotient(p_cost, p_quantity * p_multiplier, 18) end;
comment on function trading.average(numeric, numeric, numeric) is
    'Cost per unit: cost / (quantity * multiplier), rounded once, half to even, to 18 digits after the point; 0 if the quantity is 0.';
