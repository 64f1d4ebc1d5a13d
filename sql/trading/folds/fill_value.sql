create or replace function trading.fill_value(
    p_side text, p_last_qty numeric, p_unit_cost numeric, p_gross_amount numeric, p_fee_in_kind numeric, p_kind text
)
returns numeric
language sql
immutable parallel safe
return case p_side when 'BUY' then 1 else -1 end
    * coalesce(
        case p_kind when 'INVERSE' then -p_gross_amount else p_gross_amount end,
        p_last_qty * p_unit_cost
    )
    - p_fee_in_kind * p_unit_cost;
comment on function trading.fill_value is
    'What the quantity that a fill adds to the position costs: as the broker rounded it, if it told the gross amount.';
