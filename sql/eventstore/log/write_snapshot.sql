-- The engine may write snapshots in no other way. What the state is, it says; that the log has what the state was folded
-- from, this function looks up, and seals.
create or replace function eventstore.write_snapshot(
    p_shard integer,
    p_aggregate_type text,
    p_aggregate_id text,
    p_sequence bigint,
    p_fingerprint text,
    p_state jsonb
)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    insert into eventstore.snapshots as s (
        shard, aggregate_type, aggregate_id, sequence, fingerprint, state, position, "commit", commit_hash, hash
    )
    select
        p_shard,
        p_aggregate_type,
        p_aggregate_id,
        p_sequence,
        p_fingerprint,
        p_state,
        e.position,
        c.number,
        c.hash,
        eventstore.snapshot_hash(
            p_shard, p_aggregate_type, p_aggregate_id, p_sequence, e.position, c.number, c.hash, p_fingerprint, p_state
        )
    from eventstore.events e
    join eventstore.commands k
        on k.shard = e.shard
        and k.command_id = e.command_id
        and k.aggregate_id = e.aggregate_id
        and k.aggregate_type = e.aggregate_type
    join eventstore.commits c on c.shard = k.shard and c.number = k."commit"
    where e.shard = p_shard
        and e.aggregate_id = p_aggregate_id
        and e.aggregate_type = p_aggregate_type
        and e.sequence = p_sequence
    on conflict (shard, aggregate_id, aggregate_type) do update
    set sequence = excluded.sequence,
        fingerprint = excluded.fingerprint,
        state = excluded.state,
        position = excluded.position,
        "commit" = excluded."commit",
        commit_hash = excluded.commit_hash,
        hash = excluded.hash,
        taken_at = clock_timestamp()
    -- A slower process must not replace it with an older one of the same kind.
    where s.fingerprint <> excluded.fingerprint
        or s.sequence < excluded.sequence
        or not eventstore.is_snapshot_sealed(s);
end
$$;
comment on function eventstore.write_snapshot is
    'Keeps the latest snapshot of an aggregate, sealed with the commit that it was folded up to; none of what is not in the log.';
