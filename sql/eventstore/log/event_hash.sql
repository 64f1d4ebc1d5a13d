create or replace function eventstore.event_hash(
    p_position bigint, p_aggregate_type text, p_aggregate_id text, p_sequence bigint, p_type text, p_schema_version smallint, p_subject text,
    p_command_id uuid, p_payload jsonb, p_metadata jsonb, p_occurred_at timestamptz
)
returns bytea
language sql
stable parallel safe
-- Text as UTF-8 bytes: record_send would write text in the client's encoding.
return sha256(record_send(row(
    p_position,
    convert_to(p_aggregate_type, 'UTF8'),
    convert_to(p_aggregate_id, 'UTF8'),
    p_sequence,
    convert_to(p_type, 'UTF8'),
    p_schema_version,
    convert_to(p_subject, 'UTF8'),
    p_command_id,
    convert_to(p_payload::text, 'UTF8'),
    convert_to(p_metadata::text, 'UTF8'),
    p_occurred_at
)));
comment on function eventstore.event_hash is
    'SHA-256 over the content of an event, as a binary record (sql/README.md); shard and recorded_at are its commit''s.';
