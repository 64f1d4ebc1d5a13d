-- A split multiplies the quantity, at the same cost. How much that adds is in the event, but only for the position as it
-- was then: p_quantity is null for any other.
create or replace function trading.add_booking(
    p_state numeric[], p_before numeric[], p_quantity numeric, p_value numeric, p_split_to numeric, p_split_from numeric
)
returns numeric[]
language plpgsql
immutable parallel safe
as $$
begin
    if p_split_to is null then
        return trading.net_fill(p_state, p_before, p_quantity, p_value);
    end if;
    p_state := coalesce(p_state, p_before, '{0,0,0,0}');
    p_state[1] := coalesce(p_state[1] + p_quantity, trading.split_quantity(p_state[1], p_split_to, p_split_from));
    return p_state;
end
$$;
comment on function trading.add_booking is
    'A position after one more fill, adjustment or split: {quantity, cost, realised PnL, cycle}. The step of booked_position.';
