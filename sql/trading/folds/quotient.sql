create or replace function trading.quotient(p_dividend numeric, p_divisor numeric, p_digits integer)
returns numeric
language plpgsql
immutable parallel safe
as $$
declare
    v_scaled numeric := abs(p_dividend) * ('1e' || p_digits)::numeric;
    v_divisor numeric := abs(p_divisor);
    v_whole numeric;
    v_twice_the_rest numeric;
begin
    -- round() would round a quotient that division has already rounded.
    v_whole := div(v_scaled, v_divisor);
    v_twice_the_rest := 2 * (v_scaled - v_whole * v_divisor);
    if v_twice_the_rest > v_divisor or v_twice_the_rest = v_divisor and v_whole % 2 = 1 then
        v_whole := v_whole + 1;
    end if;
    return sign(p_dividend) * sign(p_divisor) * v_whole * ('1e-' || p_digits)::numeric;
end
$$;
comment on function trading.quotient is
    'p_dividend / p_divisor, rounded once, half to even, to so many digits after the point.';
