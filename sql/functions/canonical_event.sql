create or replace function eventstore.canonical_event(
    p_position bigint, p_aggregate_id text, p_sequence bigint, p_type text, p_schema_version smallint, p_subject text,
    p_command_id uuid, p_payload jsonb, p_metadata jsonb, p_occurred_at timestamptz
)
returns text
language sql
stable parallel safe
return json_build_array(
    p_position, p_aggregate_id, p_sequence, p_type, p_schema_version, p_subject, p_command_id, p_payload, p_metadata,
    extract(epoch from p_occurred_at)
)::text;
