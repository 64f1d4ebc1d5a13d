create or replace function audit.position_history(
    p_account text, p_symbol text, p_log_position bigint default 9223372036854775807
)
returns table (
    log_position bigint, occurred_at timestamptz, recorded_at timestamptz, type text, order_id text, strategy_id text,
    exec_id text, booked_quantity numeric, price numeric, fee numeric, fee_currency text, amended_by bigint,
    quantity numeric, avg_px numeric, cost numeric, realized_pnl numeric, cycle bigint, command_id uuid, actor text,
    raw_message text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_shard integer := eventstore.shard_of(p_account);
begin
    return query
    with folded as (
        select
            f.*,
            trading.booked_position(null, f.quantity, f.value, f.split_to, f.split_from)
                over (order by f.position, f.number rows unbounded preceding) as state,
            -- A bust, a correction or a split does not change what the position is of.
            count(*) filter (where f.is_describing)
                over (order by f.position, f.number rows unbounded preceding) as description
        from trading.effective_fills(v_shard, p_account, p_symbol, p_log_position) f
    ),
    described as (
        select
            f.*,
            first_value(f.multiplier) over of_description as position_multiplier,
            first_value(f.kind) over of_description as position_kind
        from folded f
        window of_description as (partition by f.description order by f.position, f.number)
    )
    select
        f.position,
        e.occurred_at,
        e.recorded_at,
        f.type,
        f.order_id,
        f.strategy_id,
        f.exec_id,
        f.quantity,
        f.price,
        f.fee,
        f.fee_currency,
        f.amended_by,
        f.state[1],
        trading.average_price(f.state[2], f.state[1], f.position_multiplier, f.position_kind),
        f.state[2],
        f.state[3],
        f.state[4]::bigint,
        e.command_id,
        e.metadata ->> 'actor',
        e.metadata ->> 'raw_message'
    from described f
    cross join lateral (
        select *
        from trading.log e
        where e.shard = v_shard and e.position = f.position
        limit 1
    ) e
    order by f.position, f.number;
end
$$;
comment on function audit.position_history is
    'The fills and adjustments that make up a position, from the log itself, each with its order, strategy, command, actor and the broker''s message, and the position after it. Busted fills are not listed; amended_by is the log position of the correction that gave a fill its values.';
