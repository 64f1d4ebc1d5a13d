create or replace function eventstore.release_lease(p_name text, p_holder text, p_epoch bigint)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    update eventstore.leases l
    set expires_at = clock_timestamp()
    where l.name = p_name
        and l.epoch = p_epoch
        and l.holder = p_holder
        and l.expires_at > clock_timestamp();
$$;
comment on function eventstore.release_lease is 'Ends a lease before its time, if this holder still has it, at this epoch.';
