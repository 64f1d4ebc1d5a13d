create or replace function trading.split_quantity(p_quantity numeric, p_split_to numeric, p_split_from numeric)
returns numeric
language sql
immutable parallel safe
return div(p_quantity * p_split_to * 1e18, p_split_from) * 1e-18;
comment on function trading.split_quantity is
    'A quantity after a split, cut to the 18 digits after the point that quantities have.';
