create or replace aggregate trading.net_position(p_before numeric[], p_quantity numeric, p_value numeric) (
    sfunc = trading.net_fill,
    stype = numeric[],
    parallel = safe
);
comment on aggregate trading.net_position(numeric[], numeric, numeric) is
    'Fills folded into a position at average cost, in the given order, starting from p_before or from nothing: {quantity, cost, realised PnL, cycle}. p_quantity is signed, p_value what it costs.';
