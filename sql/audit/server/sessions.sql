-- Of the sessions of other logins than the owner's and those that the owner is a member of, PostgreSQL shows the start of
-- the transaction and the query only to members of pg_read_all_stats. What a query does is told by its first words, which
-- are names: whatever it compares or sets, a password say, is not shown.
create or replace function audit.sessions()
returns table (
    pid integer, login name, application text, client text, transaction_began_at timestamptz, doing text,
    holds_back_vacuum boolean, may_be_ended boolean, waits_for_replicas_since timestamptz
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        a.pid,
        a.usename,
        a.application_name,
        coalesce(host(a.client_addr), 'local'),
        a.xact_start,
        concat_ws(
            ': ',
            a.state,
            lower(substring(a.query from '^[[:space:]]*([A-Za-z_][A-Za-z_0-9.]*(?:[[:space:]]+[A-Za-z_][A-Za-z_0-9.]*){0,2})'))
        ),
        coalesce(a.backend_xmin, a.backend_xid) is not null,
        pg_has_role(a.usesysid, 'usage'),
        case when a.wait_event = 'SyncRep' then a.query_start end
    from pg_stat_activity a
    where a.datname = current_database()
        and a.usesysid is not null -- The kind of a session is hidden, too; those of the server itself have no login.
        and a.pid <> pg_backend_pid();
$$;
comment on function audit.sessions is
    'The sessions in this database, in words: since when their transaction lasts, what they do, whether the owner may end them, and since when, at most, their commit waits for replicas.';
