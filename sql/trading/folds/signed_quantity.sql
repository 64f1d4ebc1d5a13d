create or replace function trading.signed_quantity(
    p_side text, p_last_qty numeric, p_fee numeric, p_fee_currency text, p_base_currency text, p_kind text
)
returns numeric
language sql
immutable parallel safe
return case p_side when 'BUY' then p_last_qty else -p_last_qty end
    - trading.fee_in_kind(p_fee, p_fee_currency, p_base_currency, p_kind);
comment on function trading.signed_quantity is
    'What a fill adds to the position: negative for a sale, less a fee that is taken from what was traded.';
