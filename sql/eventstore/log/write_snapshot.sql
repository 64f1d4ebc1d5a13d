create or replace function eventstore.write_snapshot(
    p_shard integer,
    p_aggregate_type text,
    p_aggregate_id text,
    p_sequence bigint,
    p_fingerprint text,
    p_state jsonb
)
returns void
language sql
as $$
    insert into eventstore.snapshots as s (shard, aggregate_type, aggregate_id, sequence, fingerprint, state)
    values (p_shard, p_aggregate_type, p_aggregate_id, p_sequence, p_fingerprint, p_state)
    on conflict (shard, aggregate_id, aggregate_type) do update
    set sequence = excluded.sequence,
        fingerprint = excluded.fingerprint,
        state = excluded.state,
        taken_at = clock_timestamp()
    -- A slower process must not replace it with an older one of the same shape.
    where s.fingerprint <> excluded.fingerprint or s.sequence < excluded.sequence
$$;
comment on function eventstore.write_snapshot is 'Keeps the latest snapshot of an aggregate.';
