create or replace function eventstore.canonical_command(
    p_command_id uuid, p_aggregate_id text, p_type text, p_fingerprint bytea, p_actor text, p_reason jsonb,
    p_first_position bigint, p_event_count integer
)
returns text
language sql
stable parallel safe
return json_build_array(
    p_command_id, p_aggregate_id, p_type, encode(p_fingerprint, 'hex'), p_actor, p_reason, p_first_position, p_event_count
)::text;
