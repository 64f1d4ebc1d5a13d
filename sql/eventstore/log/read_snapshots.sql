create or replace function eventstore.read_snapshots(p_shard integer, p_aggregate_ids text[], p_fingerprint text)
returns table (aggregate_id text, sequence bigint, state jsonb)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
begin
    return query
    select s.aggregate_id, s.sequence, s.state
    from unnest(p_aggregate_ids) as a (id)
    cross join lateral (
        select n.*
        from eventstore.snapshots n
        where n.shard = p_shard and n.aggregate_id = a.id and n.fingerprint = p_fingerprint
        limit 1
    ) s;
end
$$;
comment on function eventstore.read_snapshots is
    'The snapshots of these aggregates, if they were taken of states of the same shape.';
