create or replace function audit.export_commands(p_shard integer, p_after_commit bigint, p_to_commit bigint)
returns table (
    shard integer, command_id uuid, aggregate_type text, aggregate_id text, type text, fingerprint text, actor text,
    outcome text, reason jsonb, first_position bigint, event_count integer, "commit" bigint, recorded_at timestamptz, hash text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- A block range index finds the commands; a plan made while the log is small would keep scanning it.
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    select
        c.shard,
        c.command_id,
        c.aggregate_type,
        c.aggregate_id,
        c.type,
        encode(c.fingerprint, 'hex'),
        c.actor,
        c.outcome,
        c.reason,
        c.first_position,
        c.event_count,
        c."commit",
        c.recorded_at,
        encode(c.hash, 'hex')
    from eventstore.commands c
    where c.shard = p_shard
        and c."commit" > p_after_commit
        and c."commit" <= p_to_commit
    order by c."commit", c.command_id, c.hash;
end
$$;
comment on function audit.export_commands is
    'The commands of the commits with a number in (p_after_commit, p_to_commit], in the shape of an export.';
