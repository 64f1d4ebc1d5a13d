create or replace function eventstore.command_hash(
    p_command_id uuid, p_aggregate_type text, p_aggregate_id text, p_type text, p_fingerprint bytea, p_actor text, p_reason jsonb,
    p_first_position bigint, p_event_count integer
)
returns bytea
language sql
stable parallel safe
-- Text as UTF-8 bytes: record_send would write text in the client's encoding.
return sha256(record_send(row(
    p_command_id,
    convert_to(p_aggregate_type, 'UTF8'),
    convert_to(p_aggregate_id, 'UTF8'),
    convert_to(p_type, 'UTF8'),
    p_fingerprint,
    convert_to(p_actor, 'UTF8'),
    convert_to(p_reason::text, 'UTF8'),
    p_first_position,
    p_event_count
)));
comment on function eventstore.command_hash is
    'SHA-256 over the content of a command, as a binary record (sql/README.md); shard, commit and recorded_at are its commit''s.';
