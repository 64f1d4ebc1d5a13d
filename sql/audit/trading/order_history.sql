create or replace function audit.order_history(p_account text, p_order_id text)
returns table (
    log_position bigint, sequence bigint, type text, occurred_at timestamptz, recorded_at timestamptz, actor text,
    command_type text, command_id uuid, correlation_id text, causation_id text, payload jsonb
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    select
        e.position,
        e.sequence,
        e.type,
        e.occurred_at,
        e.recorded_at,
        e.metadata ->> 'actor',
        c.type,
        e.command_id,
        e.metadata ->> 'correlation_id',
        e.metadata ->> 'causation_id',
        e.payload
    from trading.log e
    left join eventstore.commands c
        on c.shard = e.shard
        and c.command_id = e.command_id
        and c.aggregate_id = e.aggregate_id
        and c.aggregate_type = 'order_book'
    where e.shard = eventstore.shard_of(p_account)
        and e.subject = p_order_id
        and e.aggregate_id = p_account
    order by e.sequence;
end
$$;
comment on function audit.order_history is
    'The events of an order, in order: when each happened, when it was recorded, who asked for it, and by which command.';
