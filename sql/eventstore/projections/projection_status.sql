create or replace function eventstore.projection_status(p_projection text default null)
returns table (
    name text,
    shard integer,
    checkpoint bigint,
    head bigint,
    lag bigint,
    state text,
    definition_hash text,
    aggregate_types text[],
    skipped bigint,
    error jsonb,
    run jsonb
)
language sql
stable
begin atomic
    with running as (
        -- A run whose process died still has its row, but holds no lock.
        select
            r.name,
            r.kind
        from eventstore.projection_runs r
        join pg_locks l
            on l.locktype = 'advisory'
            and l.database = (select d.oid from pg_database d where d.datname = current_database())
            and l.classid = eventstore.projection_lock_class()
            and l.objid::bigint = hashtext(r.name)::bigint & 4294967295
            and l.granted
        where r.finished_at is null
    ),
    run as (
        select
            r.name,
            jsonb_build_object(
                'kind', r.kind,
                'state', case
                    when u.name is not null then 'running'
                    when r.finished_at is null then 'interrupted'
                    when r.error is not null then 'failed'
                    else 'finished'
                end,
                'events_done', r.events_done,
                'events_total', r.events_total,
                'events_per_second', round(r.events_done / s.seconds),
                'eta_seconds', case
                    when u.name is not null and r.events_done > 0
                        then round((r.events_total - r.events_done) * s.seconds / r.events_done, 1)
                end,
                'started_at', r.started_at,
                'finished_at', r.finished_at,
                'error', r.error
            ) as run
        from eventstore.projection_runs r
        cross join lateral (
            select greatest(extract(epoch from coalesce(r.finished_at, r.updated_at) - r.started_at), 0.001) as seconds
        ) s
        left join running u on u.name = r.name
    )
    select
        p.name,
        s.shard,
        s.checkpoint,
        h.head,
        greatest(h.head - s.checkpoint, 0),
        case
            when (s.error ->> 'events')::bigint > 1 then 'slow'
            when s.error is not null then 'failed'
            when u.kind = 'rebuild' then 'rebuilding'
            when u.kind = 'reset' then 'resetting'
            else 'live'
        end,
        p.definition_hash,
        p.aggregate_types,
        (
            select count(*)
            from eventstore.dead_letters d
            where d.shard = s.shard
                and d.subscription = s.name
                and d.definition_hash = s.definition_hash
                and d.position <= s.checkpoint
        ),
        s.error,
        r.run
    from eventstore.projections p
    join eventstore.subscriptions s on s.name = p.name
    cross join lateral (select (eventstore.head(s.shard)).last_position as head) h
    left join running u on u.name = p.name
    left join run r on r.name = p.name
    where p.name = p_projection
        or p_projection is null
    order by p.name, s.shard;
end;
comment on function eventstore.projection_status(text) is
    'The status of each projection, one row per shard, with its last reset, rebuild or verification.';
