create or replace function eventstore.read_events(
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
returns table (
    head bigint,
    searched_to bigint,
    "position" bigint,
    aggregate_type text,
    aggregate_id text,
    type text,
    document json
)
language plpgsql
stable
as $$
declare
    v_head bigint := (eventstore.head(p_shard)).last_position;
    -- The events of a subject alone are in no order that a page could begin in: few are read all, very many are searched.
    v_is_read_whole boolean := p_subject is not null
        and p_aggregate_id is null
        and not eventstore.is_common_subject(p_shard, p_subject, p_search_max);
    -- Types have no index, and patterns neither: a search for what is rare could walk the whole shard.
    v_searched_to bigint := case
        when not v_is_read_whole
            and (
                p_type is not null
                or p_aggregate_id is null and not (p_aggregate_type is null and p_patterns is null and p_subject is null)
            )
            then eventstore.search_end(p_shard, p_after, p_search_max, p_aggregate_type, p_aggregate_id, p_subject)
    end;
begin
    return query
    select v_head, v_searched_to, l.position, l.aggregate_type, l.aggregate_id, l.type, eventstore.event_json(l)
    from eventstore.read_log(
        p_shard, p_after, p_limit, p_type, p_aggregate_type, p_aggregate_id, p_subject,
        case when not v_is_read_whole then coalesce(v_searched_to, v_head) end, p_patterns
    ) l;
    if not found then
        return query select v_head, v_searched_to, null::bigint, null::text, null::text, null::text, null::json;
    end if;
end
$$;
comment on function eventstore.read_events is
    'Events as HTTP shows them, ascending, with the head of the shard; one row without an event, if there is none. searched_to: where the search ended before the head, if it did.';
