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
security definer
set search_path = pg_catalog, pg_temp
begin atomic
    with run as materialized (
        select
            p.name,
            eventstore.projection_run(p.name) as document
        from eventstore.projections p
        where p.name = p_projection
            or p_projection is null
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
            when r.document ->> 'state' is distinct from 'running' then 'live'
            when r.document ->> 'kind' = 'rebuild' then 'rebuilding'
            when r.document ->> 'kind' = 'reset' then 'resetting'
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
        r.document
    from eventstore.projections p
    join eventstore.subscriptions s on s.name = p.name
    cross join lateral (select (eventstore.head(s.shard)).last_position as head) h
    join run r on r.name = p.name
    order by p.name, s.shard;
end;
comment on function eventstore.projection_status(text) is
    'The status of each projection, one row per shard, with its last reset, rebuild or verification.';
