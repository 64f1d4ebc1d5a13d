create or replace function eventstore.read_log(
    p_shard integer,
    p_after bigint,
    p_limit integer,
    p_type text default null,
    p_aggregate_type text default null,
    p_aggregate_id text default null,
    p_subject text default null,
    p_until bigint default null,
    p_patterns text[] default null
)
returns setof eventstore.log
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    v_until bigint := coalesce(p_until, 9223372036854775807);
begin
    -- One plan per kind of filter: each has its own index, and an absent filter costs nothing.
    if p_subject is not null and p_aggregate_id is not null then
        return query
        with aggregate as materialized (
            select
                t.type,
                eventstore.sequence_at(p_shard, t.type, p_aggregate_id, p_after) as after_sequence,
                case when p_until is not null then eventstore.sequence_at(p_shard, t.type, p_aggregate_id, p_until) end
                    as until_sequence
            from eventstore.aggregate_types_of(p_shard, p_aggregate_id) as t (type)
            where p_aggregate_type is null or t.type = p_aggregate_type
        )
        select e.*
        from aggregate a
        cross join lateral (
            select l.*
            from eventstore.log l
            where l.shard = p_shard and l.subject = p_subject and l.aggregate_id = p_aggregate_id
                and l.aggregate_type = a.type
                and l.sequence > a.after_sequence
                and l.sequence <= coalesce(a.until_sequence, v_until)
                and (p_type is null or l.type = p_type)
                and eventstore.matches(l.aggregate_id, p_patterns)
            order by l.sequence
            limit p_limit
        ) e
        order by e.position
        limit p_limit;
    elsif p_subject is not null and p_until is null then
        return query
        -- Materialized, so that no plan walks the whole shard for the sake of its order.
        with about as materialized (
            select l.*
            from eventstore.log l
            where l.shard = p_shard and l.subject = p_subject
                and (p_aggregate_type is null or l.aggregate_type = p_aggregate_type)
                and (p_type is null or l.type = p_type)
                and eventstore.matches(l.aggregate_id, p_patterns)
        )
        select a.*
        from about a
        where a.position > p_after
        order by a.position
        limit p_limit;
    elsif p_aggregate_id is not null then
        return query
        with aggregate as materialized (
            select
                t.type,
                eventstore.sequence_at(p_shard, t.type, p_aggregate_id, p_after) as after_sequence,
                case when p_until is not null then eventstore.sequence_at(p_shard, t.type, p_aggregate_id, p_until) end
                    as until_sequence
            from eventstore.aggregate_types_of(p_shard, p_aggregate_id) as t (type)
            where p_aggregate_type is null or t.type = p_aggregate_type
        )
        select e.*
        from aggregate a
        cross join lateral (
            select l.*
            from eventstore.log l
            where l.shard = p_shard and l.aggregate_id = p_aggregate_id and l.aggregate_type = a.type
                and l.sequence > a.after_sequence
                and l.sequence <= coalesce(a.until_sequence, v_until)
                and (p_type is null or l.type = p_type)
                and eventstore.matches(l.aggregate_id, p_patterns)
            order by l.sequence
            limit p_limit
        ) e
        order by e.position
        limit p_limit;
    else
        return query
        select l.*
        from eventstore.log l
        where l.shard = p_shard and l.position > p_after and l.position <= v_until
            and (p_aggregate_type is null or l.aggregate_type = p_aggregate_type)
            and (p_type is null or l.type = p_type)
            and (p_subject is null or l.subject = p_subject)
            and (p_patterns is null or eventstore.matches(l.aggregate_id, p_patterns))
        order by l.position
        limit p_limit;
    end if;
end
$$;
comment on function eventstore.read_log is
    'Events of a shard after a position, ascending; optionally up to a position, and of one type, aggregate type, aggregate or subject, and of aggregates that match one of the patterns. Of a subject alone up to a position: by a walk through the log.';
