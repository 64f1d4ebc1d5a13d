create or replace function audit.blockers()
returns table (pid integer, waiting integer, since timestamptz)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select
        b.pid,
        count(distinct l.pid)::integer,
        min(l.waitstart)
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid and a.datname = current_database()
    cross join lateral unnest(pg_blocking_pids(l.pid)) as b (pid)
    where not l.granted
    group by b.pid;
$$;
comment on function audit.blockers is
    'The sessions that others in this database wait for, how many wait, and since when. 0 is a prepared transaction.';
