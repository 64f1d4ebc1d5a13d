create or replace function trading.fee_in_kind(p_fee numeric, p_fee_currency text, p_base_currency text, p_kind text)
returns numeric
language sql
immutable parallel safe
return case
    when p_fee_currency = p_base_currency and coalesce(p_kind, 'SPOT') = 'SPOT' then coalesce(p_fee, 0)
    else 0
end;
comment on function trading.fee_in_kind is
    'The part of a fee that is taken from what was traded: all of it, if it is in the base currency of a SPOT instrument.';
