create or replace function eventstore.lease_status(p_prefix text)
returns table (
    name text, epoch bigint, holder text, acquired_at timestamptz, renewed_at timestamptz, expires_at timestamptz,
    is_held boolean, status jsonb
)
language sql
stable
as $$
    select l.name, l.epoch, l.holder, l.acquired_at, l.renewed_at, l.expires_at, l.expires_at > clock_timestamp(), l.status
    from eventstore.leases l
    where l.name like p_prefix || '%'
    order by l.name;
$$;
comment on function eventstore.lease_status is 'The leases whose names begin so, who holds them, and what the holders say.';
