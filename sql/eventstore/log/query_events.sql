create or replace function eventstore.query_events(
    p_shard integer,
    p_after bigint,
    p_limit integer,
    p_type text default null,
    p_aggregate_id text default null,
    p_subject text default null
)
returns table ("position" bigint, document json)
language plpgsql
stable
as $$
declare
    v_head bigint := (eventstore.head(p_shard)).last_position;
begin
    return query
    select
        v_head,
        eventstore.page(
            'events',
            array_agg(eventstore.event_json(l) order by l.position),
            array_agg(l.position order by l.position),
            p_limit,
            json_build_object('head', v_head)
        )
    -- One more than asked for, to see whether there is a next page.
    from eventstore.read_log(p_shard, p_after, p_limit + 1, p_type, p_aggregate_id, p_subject) l;
end
$$;
comment on function eventstore.query_events is 'A page of the log, with its head; next is a position.';
