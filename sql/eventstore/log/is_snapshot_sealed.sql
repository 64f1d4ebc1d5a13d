create or replace function eventstore.is_snapshot_sealed(p_snapshot eventstore.snapshots)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    return p_snapshot.hash = eventstore.snapshot_hash(
        p_snapshot.shard, p_snapshot.aggregate_type, p_snapshot.aggregate_id, p_snapshot.sequence, p_snapshot.position,
        p_snapshot."commit", p_snapshot.commit_hash, p_snapshot.fingerprint, p_snapshot.state
    )
    and exists (
        select
        from eventstore.commits c
        where c.shard = p_snapshot.shard
            and c.number = p_snapshot."commit"
            and c.hash = p_snapshot.commit_hash
            and p_snapshot.position between c.first_position and c.last_position
    )
    and exists (
        select
        from eventstore.events e
        where e.shard = p_snapshot.shard
            and e.position = p_snapshot.position
            and e.aggregate_id = p_snapshot.aggregate_id
            and e.aggregate_type = p_snapshot.aggregate_type
            and e.sequence = p_snapshot.sequence
    );
end
$$;
comment on function eventstore.is_snapshot_sealed is
    'Whether a snapshot is as it was written, and the log has the commit that it was folded up to.';
