create or replace function audit.fills_of_position(p_account text, p_symbol text)
returns table (
    log_position bigint, occurred_at timestamptz, recorded_at timestamptz, order_id text, strategy_id text, exec_id text,
    booked_quantity numeric, price numeric, fee numeric, fee_currency text, command_id uuid, actor text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        h.log_position,
        h.occurred_at,
        h.recorded_at,
        h.order_id,
        h.strategy_id,
        h.exec_id,
        h.booked_quantity,
        h.price,
        h.fee,
        h.fee_currency,
        h.command_id,
        h.actor
    from audit.position_history(p_account, p_symbol) h;
end
$$;
comment on function audit.fills_of_position is
    'The fills and adjustments that make up an account''s current position in a symbol, and the source of each: audit.position_history without the position after each fill.';
