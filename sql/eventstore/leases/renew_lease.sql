create or replace function eventstore.renew_lease(p_name text, p_holder text, p_epoch bigint, p_duration_ms integer, p_status jsonb)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- An expired lease that nobody has taken is still its last holder's.
    update eventstore.leases l
    set
        renewed_at = clock_timestamp(),
        expires_at = clock_timestamp() + p_duration_ms * interval '1 ms',
        status = p_status
    where l.name = p_name
        and l.epoch = p_epoch
        and l.holder = p_holder;
    return found;
end
$$;
comment on function eventstore.renew_lease is
    'Prolongs a lease, and keeps what its holder says of itself. False: somebody else has taken it.';
