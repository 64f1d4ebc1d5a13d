create or replace function audit.fills_of_position(p_account text, p_symbol text)
returns table (
    "position" bigint, occurred_at timestamptz, recorded_at timestamptz, order_id text, strategy_id text, side text,
    last_qty numeric, last_px numeric, fee numeric, fee_currency text, quantity numeric, exec_id text, command_id uuid,
    actor text
)
language plpgsql
stable
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    select
        e.position,
        e.occurred_at,
        e.recorded_at,
        e.subject,
        e.payload ->> 'strategy_id',
        e.payload ->> 'side',
        (e.payload ->> 'last_qty')::numeric,
        (e.payload ->> 'last_px')::numeric,
        (e.payload ->> 'fee')::numeric,
        e.payload ->> 'fee_currency',
        sum((e.payload ->> 'last_qty')::numeric * case e.payload ->> 'side' when 'BUY' then 1 else -1 end)
            over (order by e.sequence),
        e.payload ->> 'exec_id',
        e.command_id,
        e.metadata ->> 'actor'
    from eventstore.log e
    where e.shard = eventstore.shard_of(p_account)
        and e.aggregate_id = p_account
        and e.type = 'OrderFilled'
        and e.payload ->> 'symbol' = p_symbol
    order by e.sequence;
end
$$;
comment on function audit.fills_of_position is
    'The fills that an account''s position in a symbol is made of, out of the log itself; quantity: what it was after each.';
