create or replace function audit.export_events(p_shard integer, p_after bigint, p_to bigint)
returns table (
    shard integer, "position" bigint, aggregate_type text, aggregate_id text, sequence bigint, type text,
    schema_version smallint, subject text, command_id uuid, payload jsonb, metadata jsonb, occurred_at timestamptz,
    recorded_at timestamptz, hash text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    select
        e.shard,
        e.position,
        e.aggregate_type,
        e.aggregate_id,
        e.sequence,
        e.type,
        e.schema_version,
        e.subject,
        e.command_id,
        e.payload,
        e.metadata,
        e.occurred_at,
        e.recorded_at,
        encode(e.hash, 'hex')
    from eventstore.events e
    where e.shard = p_shard
        and e.position > p_after
        and e.position <= p_to
    order by e.position;
end
$$;
comment on function audit.export_events is
    'The events at positions in (p_after, p_to], as stored, in the shape of an export: no upcaster is applied.';
