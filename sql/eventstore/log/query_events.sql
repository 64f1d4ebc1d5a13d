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
language sql
stable
as $$
    -- One more than asked for, to see whether there is a next page.
    with found as materialized (
        select
            min(e.head) as head,
            min(e.searched_to) as searched_to,
            array_agg(e.document order by e.position) filter (where e.position is not null) as documents,
            array_agg(e.position order by e.position) filter (where e.position is not null) as positions
        from eventstore.read_events(
            p_shard, p_after, p_limit + 1, p_type, p_aggregate_type, p_aggregate_id, p_subject, p_patterns, p_search_max
        ) e
    )
    select
        f.head,
        eventstore.page(
            'events',
            f.documents,
            f.positions,
            p_limit,
            json_build_object(
                'head', f.head,
                'sealed', json_build_object(
                    'log_id', s.log_id, 'position', s.after, 'commit', s."commit", 'hash', s.hash
                )
            ),
            f.searched_to
        )
    from found f
    cross join lateral eventstore.stream_start(
        p_shard, coalesce(f.positions[least(cardinality(f.positions), p_limit)], least(p_after, f.head))
    ) s;
$$;
comment on function eventstore.query_events is
    'A page of the log, with its head; next is a position. A search by type, or by patterns, ends after p_search_max events: its page may be short or empty, and next says where to continue. sealed: the commit that wrote the last event of the page.';
