-- The state of a position is an array: quantity, cost, realised PnL, and the number of the cycle.
create or replace function trading.net_fill(
    p_state numeric[], p_before numeric[], p_quantity numeric, p_unit_cost numeric
)
returns numeric[]
language plpgsql
immutable parallel safe
as $$
declare
    v_held numeric;
    v_held_after numeric;
    v_released numeric;
begin
    if p_state is null then
        p_state := coalesce(p_before, '{0,0,0,0}');
    end if;
    if p_quantity = 0 then
        return p_state;
    end if;
    v_held := p_state[1];
    if v_held = 0 then
        return array[p_quantity, p_quantity * p_unit_cost, p_state[3], p_state[4] + 1];
    end if;
    v_held_after := v_held + p_quantity;
    if (v_held > 0) = (p_quantity > 0) then
        return array[v_held_after, p_state[2] + p_quantity * p_unit_cost, p_state[3], p_state[4]];
    end if;
    if v_held_after = 0 then
        return array[0, 0, p_state[3] - p_quantity * p_unit_cost - p_state[2], p_state[4]];
    end if;
    if (v_held > 0) = (v_held_after > 0) then
        -- Cut to 36 digits after the point; the remainder stays in the position.
        v_released := div(p_state[2] * -p_quantity * 1e36, v_held) * 1e-36;
        return array[
            v_held_after,
            p_state[2] - v_released,
            p_state[3] - p_quantity * p_unit_cost - v_released,
            p_state[4]
        ];
    end if;
    return array[
        v_held_after,
        v_held_after * p_unit_cost,
        p_state[3] + v_held * p_unit_cost - p_state[2],
        p_state[4] + 1
    ];
end
$$;
comment on function trading.net_fill is
    'A position after one more fill: {quantity, cost, realised PnL, cycle}. The step of net_position.';
