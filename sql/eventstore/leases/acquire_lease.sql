-- Takes a lease that nobody holds: the next epoch. All shards are locked meanwhile, so that no append under the lease's
-- earlier epoch is under way when it is over, and none can follow.
create or replace function eventstore.acquire_lease(p_name text, p_holder text, p_duration_ms integer)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_lease eventstore.leases;
    v_now timestamptz;
    v_epoch bigint;
begin
    insert into eventstore.leases (name, epoch, holder, acquired_at, renewed_at, expires_at)
    values (p_name, 0, '', '-infinity', '-infinity', '-infinity')
    on conflict (name) do nothing;
    select * into v_lease from eventstore.leases l where l.name = p_name;
    if v_lease.expires_at > clock_timestamp() then
        return null;
    end if;

    perform eventstore.lock_shard(s.shard)
    from (
        select generate_series(0, i.shard_count - 1) as shard
        from eventstore.log_info i
        order by 1
    ) s;
    v_now := clock_timestamp();
    update eventstore.leases l
    set
        epoch = l.epoch + 1,
        holder = p_holder,
        acquired_at = v_now,
        renewed_at = v_now,
        expires_at = v_now + p_duration_ms * interval '1 ms',
        status = '{}'
    where l.name = p_name
        and l.expires_at <= v_now
    returning l.epoch into v_epoch;
    return v_epoch;
end
$$;
comment on function eventstore.acquire_lease is
    'Takes a lease for some time if nobody holds it, and returns its new epoch. Null: somebody else holds it.';
