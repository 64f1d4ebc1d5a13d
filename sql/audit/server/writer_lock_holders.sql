-- Whoever holds the writer's lock of a shard has a lock on the table of shards; so have those who wait for it, who wait for
-- a transaction or a row, too.
create or replace function audit.writer_lock_holders()
returns table (pid integer, waiting integer, since timestamptz)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with of_database as (
        select l.*
        from pg_locks l
        join pg_stat_activity a on a.pid = l.pid
        where a.datname = current_database()
    ),
    waiting as (
        select l.pid, min(l.waitstart) as since
        from of_database l
        where not l.granted
        group by l.pid
    )
    select
        h.pid,
        w.waiting,
        w.since
    from (
        select distinct l.pid
        from of_database l
        where l.locktype = 'relation'
            and l.relation in (to_regclass('eventstore.shards'), to_regclass('eventstore.commits'))
            and l.mode <> 'AccessShareLock'
            and l.granted
    ) h
    cross join lateral (
        select count(*)::integer as waiting, min(w.since) as since
        from waiting w
        where h.pid = any (pg_blocking_pids(w.pid))
    ) w
    where h.pid not in (select w.pid from waiting w)
        and h.pid <> pg_backend_pid();
$$;
comment on function audit.writer_lock_holders is
    'The sessions that hold the writer''s lock of a shard, or another lock that appends wait for, how many sessions each keeps waiting, and since when.';
