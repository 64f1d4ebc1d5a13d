create or replace function eventstore.read_aggregates(
    p_shard integer,
    p_aggregate_types text[],
    p_aggregate_ids text[],
    p_after_sequences bigint[]
)
returns table (
    aggregate_type text, aggregate_id text, sequence bigint, type text, schema_version smallint, payload jsonb
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
    select a.type, a.id, e.sequence, e.type, e.schema_version, e.payload
    from unnest(p_aggregate_types, p_aggregate_ids, p_after_sequences) as a (type, id, after_sequence)
    cross join lateral (
        select l.sequence, l.type, l.schema_version, l.payload
        from eventstore.log l
        where l.shard = p_shard and l.aggregate_id = a.id and l.aggregate_type = a.type
            and l.sequence > a.after_sequence
        order by l.sequence
    ) e;
end
$$;
comment on function eventstore.read_aggregates is
    'The events of each aggregate after the given sequence, ordered by sequence within each aggregate.';
