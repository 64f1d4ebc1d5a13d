create or replace function audit.next_snapshot(p_shard integer, p_after_id text, p_after_type text)
returns table (
    aggregate_type text, aggregate_id text, sequence bigint, "position" bigint, "commit" bigint, fingerprint text,
    is_sealed boolean, state jsonb
)
language sql
stable
set search_path = pg_catalog, pg_temp
begin atomic
    select
        s.aggregate_type,
        s.aggregate_id,
        s.sequence,
        s.position,
        s."commit",
        s.fingerprint,
        eventstore.is_snapshot_sealed(s),
        s.state
    from eventstore.snapshots s
    where s.shard = p_shard
        and (s.aggregate_id, s.aggregate_type) > (p_after_id, p_after_type)
    order by s.aggregate_id, s.aggregate_type
    limit 1;
end;
comment on function audit.next_snapshot is
    'The snapshot after that of an aggregate, in the order of ids and types, and whether the log has what it is sealed with. No row: there is no other.';
