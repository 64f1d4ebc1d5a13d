create or replace function eventstore.plain(p_amount numeric)
returns text
language sql
immutable parallel safe
return trim_scale(p_amount)::text;
comment on function eventstore.plain is 'An amount as HTTP shows it: exact, without exponent, without trailing zeros.';
