create or replace function eventstore.read_subjects(
    p_shard integer,
    p_aggregate_types text[],
    p_aggregate_ids text[],
    p_subjects text[]
)
returns table (
    aggregate_type text, aggregate_id text, subject text, "position" bigint, sequence bigint, type text,
    schema_version smallint, command_id uuid, payload jsonb
)
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
begin
    return query
    select a.type, a.id, a.subject, e.position, e.sequence, e.type, e.schema_version, e.command_id, e.payload
    from unnest(p_aggregate_types, p_aggregate_ids, p_subjects) as a (type, id, subject)
    cross join lateral (
        select l.position, l.sequence, l.type, l.schema_version, l.command_id, l.payload
        from eventstore.log l
        where l.shard = p_shard and l.subject = a.subject and l.aggregate_id = a.id and l.aggregate_type = a.type
        order by l.sequence
    ) e;
end
$$;
comment on function eventstore.read_subjects is
    'The events about each subject of an aggregate, in order, for a state that has forgotten the subject.';
