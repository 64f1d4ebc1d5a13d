create or replace aggregate trading.booked_position(
    p_before numeric[], p_quantity numeric, p_value numeric, p_split_to numeric, p_split_from numeric
) (
    sfunc = trading.add_booking,
    stype = numeric[],
    parallel = safe
);
comment on aggregate trading.booked_position(numeric[], numeric, numeric, numeric, numeric) is
    'Like net_position, and folds splits too: those have p_split_to and p_split_from.';
