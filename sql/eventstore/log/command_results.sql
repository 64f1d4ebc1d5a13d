create or replace function eventstore.command_results(
    p_shard integer, p_aggregate_types text[], p_aggregate_ids text[], p_command_ids uuid[]
)
returns table (
    aggregate_type text, aggregate_id text, command_id uuid, fingerprint bytea, reason jsonb, "position" bigint, sequence bigint, event_types text[]
)
language plpgsql
stable
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    select
        asked.aggregate_type, asked.aggregate_id, asked.command_id, c.fingerprint, c.reason,
        coalesce(r.position, m.last_position), r.sequence, r.event_types
    from unnest(p_aggregate_types, p_aggregate_ids, p_command_ids) as asked (aggregate_type, aggregate_id, command_id)
    cross join lateral (
        select k.*
        from eventstore.commands k
        where k.shard = p_shard and k.command_id = asked.command_id and k.aggregate_id = asked.aggregate_id
            and k.aggregate_type = asked.aggregate_type
        limit 1
    ) c
    cross join lateral (
        select t.last_position from eventstore.commits t where t.shard = p_shard and t.number = c."commit" limit 1
    ) m
    cross join lateral (
        select
            max(e.position) as position,
            max(e.sequence) as sequence,
            coalesce(array_agg(e.type order by e.position), '{}') as event_types
        from eventstore.events e
        where e.shard = p_shard and e.position >= c.first_position and e.position < c.first_position + c.event_count
    ) r;
end
$$;
comment on function eventstore.command_results is
    'The first result of each known command of an aggregate; a command without events has the position of its commit.';
