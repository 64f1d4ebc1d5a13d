create or replace function eventstore.read_snapshots(
    p_shard integer,
    p_aggregate_types text[],
    p_aggregate_ids text[],
    p_fingerprints text[]
)
returns table (aggregate_type text, aggregate_id text, sequence bigint, fingerprint text, state jsonb)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
begin
    return query
    select s.aggregate_type, s.aggregate_id, s.sequence, s.fingerprint, s.state
    from unnest(p_aggregate_types, p_aggregate_ids, p_fingerprints) as a (type, id, fingerprint)
    cross join lateral (
        select n as snapshot, n.*
        from eventstore.snapshots n
        where n.shard = p_shard and n.aggregate_id = a.id and n.aggregate_type = a.type
            and n.fingerprint = a.fingerprint
        limit 1
    ) s
    where eventstore.is_snapshot_sealed(s.snapshot);
end
$$;
comment on function eventstore.read_snapshots is
    'The snapshots of these aggregates, if they are sealed and have the fingerprint of what would be folded today.';
