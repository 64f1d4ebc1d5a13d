create or replace function audit.prepared_transactions()
returns table (gid text, login name, prepared_at timestamptz)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select p.gid, p.owner, p.prepared
    from pg_prepared_xacts p
    where p.database = current_database()
    order by p.prepared;
$$;
comment on function audit.prepared_transactions is
    'Transactions of this database that were prepared and neither committed nor rolled back: their locks outlive their sessions.';
