-- The name of whoever receives WAL is shown to everybody, whether commits wait for it only to members of
-- pg_read_all_stats: then sync_state is null.
create or replace function audit.replicas()
returns table (name text, sync_state text)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select r.application_name, r.sync_state
    from pg_stat_replication r
    order by r.application_name;
$$;
comment on function audit.replicas is
    'The replicas, and other receivers of WAL, that are attached to this server, and whether commits wait for them.';
