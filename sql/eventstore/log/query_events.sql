create or replace function eventstore.query_events(
    p_shard integer,
    p_after bigint,
    p_limit integer,
    p_type text default null,
    p_aggregate_id text default null,
    p_subject text default null,
    p_aggregate_type text default null
)
returns table ("position" bigint, items json, next bigint)
language plpgsql
stable
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for tells whether there is more.
        select l as event, row_number() over (order by l.position) as ordinal
        from eventstore.read_log(p_shard, p_after, p_limit + 1, p_type, p_aggregate_type, p_aggregate_id, p_subject) l
    ),
    page as (
        select
            coalesce(json_agg(eventstore.event_json(c.event) order by c.ordinal), '[]') as items,
            max((c.event).position) as last_position
        from candidate c
        where c.ordinal <= p_limit
    )
    select
        (eventstore.head(p_shard)).last_position,
        p.items,
        case when exists (select from candidate c where c.ordinal > p_limit) then p.last_position end
    from page p;
end
$$;
comment on function eventstore.query_events is
    'A page of the log with its head; next is the position after which the next page begins, if there is one.';
