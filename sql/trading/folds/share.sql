create or replace function trading.share(p_amount numeric, p_part numeric, p_whole numeric)
returns numeric
language sql
immutable parallel safe
return div(p_amount * p_part * 1e36, p_whole) * 1e-36;
comment on function trading.share is 'p_amount * p_part / p_whole, cut to 36 digits after the point.';
