create or replace function trading.average(p_cost numeric, p_quantity numeric, p_multiplier numeric default 1)
returns numeric
language plpgsql
immutable parallel safe
as $$
declare
    v_units numeric := abs(p_quantity * p_multiplier);
    v_whole numeric;
    v_twice_the_rest numeric;
begin
    -- FIX AvgPx (6) is 0 while there is nothing to average.
    if p_quantity = 0 then
        return 0;
    end if;
    -- round() would round a quotient that division has already rounded.
    v_whole := div(abs(p_cost) * 1e18, v_units);
    v_twice_the_rest := 2 * (abs(p_cost) * 1e18 - v_whole * v_units);
    if v_twice_the_rest > v_units or v_twice_the_rest = v_units and v_whole % 2 = 1 then
        v_whole := v_whole + 1;
    end if;
    return sign(p_cost) * sign(p_quantity) * v_whole * 1e-18;
end
$$;
comment on function trading.average(numeric, numeric, numeric) is
    'Cost per unit: cost / (quantity * multiplier), rounded once, half to even, to 18 digits after the point; 0 if the quantity is 0.';
