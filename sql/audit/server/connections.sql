create or replace function audit.connections()
returns table (free integer, allowed integer, login name, application text, count integer)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with client as (
        select a.usename, a.application_name, count(*)::integer as count
        from pg_stat_activity a
        where a.datid is not null
            and a.usesysid is not null
        group by a.usename, a.application_name
    ),
    slots as (
        select
            current_setting('max_connections')::integer
                - current_setting('superuser_reserved_connections')::integer
                - coalesce(current_setting('reserved_connections', true), '0')::integer as allowed -- since PostgreSQL 16
    )
    select
        s.allowed - (select sum(c.count)::integer from client c),
        s.allowed,
        c.usename,
        c.application_name,
        c.count
    from slots s
    cross join client c
    order by c.count desc;
$$;
comment on function audit.connections is
    'How many connections the server has left for logins without a reserve, of how many, and who has how many; the most first.';
