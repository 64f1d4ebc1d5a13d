create or replace function trading.signed_quantity(
    p_side text, p_last_qty numeric, p_fee numeric, p_fee_currency text, p_base_currency text
)
returns numeric
language sql
immutable parallel safe
return case p_side when 'BUY' then p_last_qty else -p_last_qty end
    - case when p_fee_currency = p_base_currency then coalesce(p_fee, 0) else 0 end;
comment on function trading.signed_quantity is
    'What a fill adds to the position: negative for a sale, less a fee in the base currency.';
