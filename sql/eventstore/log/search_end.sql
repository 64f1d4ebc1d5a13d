create or replace function eventstore.search_end(
    p_shard integer, p_after bigint, p_events bigint, p_aggregate_type text, p_aggregate_id text,
    p_subject text default null
)
returns bigint
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    if p_aggregate_id is null then
        return (
            select p_after + p_events
            from eventstore.head(p_shard) h
            where p_after < h.last_position - p_events
        );
    end if;
    if p_subject is not null then
        return (
            select min((
                select e.position
                from eventstore.events e
                where e.shard = p_shard and e.subject = p_subject and e.aggregate_id = p_aggregate_id
                    and e.aggregate_type = t.type
                    and e.sequence > eventstore.sequence_at(p_shard, t.type, p_aggregate_id, p_after)
                order by e.sequence
                offset p_events - 1
                limit 1
            ))
            from eventstore.aggregate_types_of(p_shard, p_aggregate_id) as t (type)
            where p_aggregate_type is null or t.type = p_aggregate_type
        );
    end if;
    return (
        select min((
            select e.position
            from eventstore.events e
            where e.shard = p_shard and e.aggregate_id = p_aggregate_id and e.aggregate_type = t.type
                and e.sequence = p_events + eventstore.sequence_at(p_shard, t.type, p_aggregate_id, p_after)
        ))
        from eventstore.aggregate_types_of(p_shard, p_aggregate_id) as t (type)
        where p_aggregate_type is null or t.type = p_aggregate_type
    );
end
$$;
comment on function eventstore.search_end is
    'The position at which a search has examined p_events events after p_after, of a shard, of one aggregate, or of one subject in it; null if it reaches the end earlier.';
