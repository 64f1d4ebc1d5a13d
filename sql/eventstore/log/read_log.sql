create or replace function eventstore.read_log(
    p_shard integer,
    p_after bigint,
    p_limit integer,
    p_type text default null,
    p_aggregate_id text default null,
    p_subject text default null,
    p_until bigint default null
)
returns setof eventstore.log
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    -- One plan per question: each has its own index, and a filter that is not there costs nothing.
    if p_subject is not null then
        return query
        -- Materialized, so that no plan walks the whole shard for the sake of its order.
        with about as materialized (
            select l.*
            from eventstore.log l
            where l.shard = p_shard and l.subject = p_subject
                and (p_aggregate_id is null or l.aggregate_id = p_aggregate_id)
                and (p_type is null or l.type = p_type)
        )
        select a.*
        from about a
        where a.position > p_after
        order by a.position
        limit p_limit;
    elsif p_aggregate_id is not null then
        return query
        select l.*
        from eventstore.log l
        where l.shard = p_shard and l.aggregate_id = p_aggregate_id
            and l.position > p_after
            and (p_type is null or l.type = p_type)
        order by l.sequence
        limit p_limit;
    else
        return query
        select l.*
        from eventstore.log l
        where l.shard = p_shard and l.position > p_after
            and l.position <= coalesce(p_until, 9223372036854775807)
            and (p_type is null or l.type = p_type)
        order by l.position
        limit p_limit;
    end if;
end
$$;
comment on function eventstore.read_log is
    'Events of a shard after a position, ascending; of one type, aggregate or subject where given.';
