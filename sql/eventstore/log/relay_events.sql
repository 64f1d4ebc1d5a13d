create or replace function eventstore.relay_events(p_shard integer, p_after bigint, p_limit integer)
returns table (
    "position" bigint,
    aggregate_type text,
    aggregate_id text,
    sequence bigint,
    type text,
    schema_version smallint,
    document json
)
language sql
stable
as $$
    select
        l.position,
        l.aggregate_type,
        l.aggregate_id,
        l.sequence,
        l.type,
        l.schema_version,
        eventstore.event_json(l)
    from eventstore.read_log(p_shard, p_after, p_limit) l;
$$;
comment on function eventstore.relay_events is
    'Events of a shard after a position, ascending, as HTTP shows them, with what the envelope of a message says.';
