create or replace function audit.writing()
returns table (is_replica boolean, read_only_by text, notify_queue_usage double precision, waits_for_replicas text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select
        pg_is_in_recovery(),
        (
            select s.source
            from pg_settings s
            where s.name = 'default_transaction_read_only'
                and s.setting = 'on'
        ),
        case when pg_is_in_recovery() then 0 else pg_notification_queue_usage() end,
        nullif(current_setting('synchronous_standby_names'), '');
$$;
comment on function audit.writing is
    'Whether this database takes writes: is it a replica, which setting makes sessions read-only, how full the queue of notifications is, which replicas a commit waits for.';
