create or replace function eventstore.query_events(
    p_shard integer,
    p_after bigint,
    p_limit integer,
    p_type text default null,
    p_aggregate_type text default null,
    p_aggregate_id text default null,
    p_subject text default null,
    p_patterns text[] default null,
    p_search_max bigint default 100000
)
returns table ("position" bigint, document json)
language plpgsql
stable
as $$
declare
    v_head bigint := (eventstore.head(p_shard)).last_position;
    -- Types have no index, so a search for a rare type could walk the whole shard.
    v_searched_to bigint := case
        when p_subject is null
            and (
                p_type is not null
                or (p_aggregate_type is not null or p_patterns is not null) and p_aggregate_id is null
            )
            then eventstore.search_end(p_shard, p_after, p_search_max, p_aggregate_type, p_aggregate_id)
    end;
begin
    return query
    select
        v_head,
        eventstore.page(
            'events',
            array_agg(eventstore.event_json(l) order by l.position),
            array_agg(l.position order by l.position),
            p_limit,
            json_build_object('head', v_head),
            v_searched_to
        )
    -- One more than asked for, to see whether there is a next page.
    from eventstore.read_log(
        p_shard, p_after, p_limit + 1, p_type, p_aggregate_type, p_aggregate_id, p_subject, v_searched_to, p_patterns
    ) l;
end
$$;
comment on function eventstore.query_events is
    'A page of the log, with its head; next is a position. A search by type, or by patterns, ends after p_search_max events: its page may be short or empty, and next says where to continue.';
