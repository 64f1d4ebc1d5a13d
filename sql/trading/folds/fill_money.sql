create or replace function trading.fill_money(
    p_last_qty numeric, p_last_px numeric, p_multiplier numeric, p_gross_amount numeric, p_kind text
)
returns numeric
language sql
immutable parallel safe
return coalesce(
    p_gross_amount,
    case p_kind when 'INVERSE' then -1 else 1 end * p_last_qty * trading.unit_cost(p_last_px, p_multiplier, p_kind)
);
comment on function trading.fill_money is
    'What a fill paid or received in its settlement currency, whichever side it is of: as the broker rounded it, if it told the gross amount.';
