create or replace function eventstore.event_json(p_event eventstore.log)
returns json
language sql
stable parallel safe
return json_build_object(
    'shard', (p_event).shard,
    'position', (p_event).position,
    'aggregate_type', (p_event).aggregate_type,
    'aggregate_id', (p_event).aggregate_id,
    'sequence', (p_event).sequence,
    'type', (p_event).type,
    'schema_version', (p_event).schema_version,
    'subject', (p_event).subject,
    'occurred_at', eventstore.rfc3339((p_event).occurred_at),
    'recorded_at', eventstore.rfc3339((p_event).recorded_at),
    'command_id', (p_event).command_id,
    'actor', (p_event).metadata ->> 'actor',
    'on_behalf_of', (p_event).metadata ->> 'on_behalf_of',
    'correlation_id', (p_event).metadata ->> 'correlation_id',
    'causation_id', (p_event).metadata ->> 'causation_id',
    'raw_message', (p_event).metadata ->> 'raw_message',
    'payload', (p_event).payload
);
comment on function eventstore.event_json is 'An event as HTTP shows it.';
