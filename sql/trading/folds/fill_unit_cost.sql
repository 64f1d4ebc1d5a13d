create or replace function trading.fill_unit_cost(
    p_last_qty numeric, p_last_px numeric, p_gross_amount numeric, p_multiplier numeric, p_kind text
)
returns numeric
language sql
immutable parallel safe
return case
    when p_gross_amount is null or p_last_qty = 0 then trading.unit_cost(p_last_px, p_multiplier, p_kind)
    else trading.share(case p_kind when 'INVERSE' then -p_gross_amount else p_gross_amount end, 1, p_last_qty)
end;
comment on function trading.fill_unit_cost is
    'What one unit of a fill costs: if the broker told the gross amount, that amount / last_qty, cut to 36 digits after the point, else trading.unit_cost.';
