create or replace function audit.clock_steps()
returns table (shard integer, recorded_at timestamptz, commits bigint, first_position bigint, last_position bigint)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select
        c.shard,
        c.recorded_at,
        count(*),
        min(c.first_position),
        max(c.last_position)
    from eventstore.commits c
    group by c.shard, c.recorded_at
    having count(*) > 1
    order by c.shard, c.recorded_at;
$$;
comment on function audit.clock_steps is
    'When the server''s clock was put back: the commits that therefore carry the time of the one before them. Reads all commits.';
