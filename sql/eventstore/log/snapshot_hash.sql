create or replace function eventstore.snapshot_hash(
    p_shard integer, p_aggregate_type text, p_aggregate_id text, p_sequence bigint, p_position bigint, p_commit bigint,
    p_commit_hash bytea, p_fingerprint text, p_state jsonb
)
returns bytea
language sql
stable parallel safe
return sha256(record_send(row(
    p_shard,
    convert_to(p_aggregate_type, 'UTF8'),
    convert_to(p_aggregate_id, 'UTF8'),
    p_sequence,
    p_position,
    p_commit,
    p_commit_hash,
    convert_to(p_fingerprint, 'UTF8'),
    convert_to(p_state::text, 'UTF8')
)));
comment on function eventstore.snapshot_hash is
    'SHA-256 over the content of a snapshot and the commit that it was folded up to.';
