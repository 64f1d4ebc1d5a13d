create or replace function audit.locks_taken()
returns table (pid integer, count integer, room integer)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select
        l.pid,
        count(*)::integer,
        current_setting('max_locks_per_transaction')::integer
            * (current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer)
    from pg_locks l
    where not l.fastpath
        and l.pid is not null
    group by l.pid
    order by count(*) desc;
$$;
comment on function audit.locks_taken is
    'How many locks each session has in the server''s table of locks, which all databases share, and for how many that is made.';
