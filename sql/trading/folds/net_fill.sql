-- The state of a position is an array: quantity, cost, realised PnL, and the number of the cycle.
create or replace function trading.net_fill(
    p_state numeric[], p_before numeric[], p_quantity numeric, p_value numeric
)
returns numeric[]
language plpgsql
immutable parallel safe
as $$
declare
    v_held numeric;
    v_held_after numeric;
    v_share numeric;
begin
    if p_state is null then
        p_state := coalesce(p_before, '{0,0,0,0}');
    end if;
    v_held := p_state[1];
    if p_quantity = 0 then
        -- All of it went into fees, or it is a correction of the money: what it cost is lost.
        return array[v_held, p_state[2], p_state[3] - p_value, p_state[4]];
    end if;
    if v_held = 0 then
        return array[p_quantity, p_value, p_state[3], p_state[4] + 1];
    end if;
    v_held_after := v_held + p_quantity;
    if (v_held > 0) = (p_quantity > 0) then
        return array[v_held_after, p_state[2] + p_value, p_state[3], p_state[4]];
    end if;
    if v_held_after = 0 then
        return array[0, 0, p_state[3] - p_value - p_state[2], p_state[4]];
    end if;
    if (v_held > 0) = (v_held_after > 0) then
        -- The remainder stays in the position.
        v_share := div(p_state[2] * -p_quantity * 1e36, v_held) * 1e-36;
        return array[v_held_after, p_state[2] - v_share, p_state[3] - p_value - v_share, p_state[4]];
    end if;
    -- The closing part brought the rest of the value.
    v_share := div(p_value * v_held_after * 1e36, p_quantity) * 1e-36;
    return array[v_held_after, v_share, p_state[3] - (p_value - v_share) - p_state[2], p_state[4] + 1];
end
$$;
comment on function trading.net_fill is
    'A position after one more fill: {quantity, cost, realised PnL, cycle}. The step of net_position.';
