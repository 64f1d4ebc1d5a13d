-- Tables can only be replaced while nobody reads them. A session that does not let go of them must not keep them as they
-- are for ever, as on a replica, where a query that stands in the way of what was changed is ended, too. Only auditors are
-- ended: the engine and the owner read for moments, or know what they do.
create or replace function eventstore.projection_end_readers(p_projection text, p_patience_s double precision)
returns setof text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_reader record;
begin
    for v_reader in
        select distinct
            a.pid,
            format('session %s of %s (%s)', a.pid, a.usename, a.application_name) as told,
            coalesce(
                a.xact_start < clock_timestamp() - p_patience_s * interval '1 s'
                    and pg_has_role(a.usesysid, to_regrole('foldbook_auditor'), 'member')
                    and not pg_has_role(a.usesysid, to_regrole('foldbook_engine'), 'member')
                    and pg_has_role(a.usesysid, 'usage'),
                false
            ) as may_be_ended
        from eventstore.projections p
        join pg_class c on c.relnamespace = 'read'::regnamespace and c.relname = any (p.tables)
        join pg_locks l
            on l.locktype = 'relation'
            and l.relation = c.oid
            and l.database = (select d.oid from pg_database d where d.datname = current_database())
            and l.granted
        join pg_stat_activity a on a.pid = l.pid
        where p.name = p_projection
            and l.pid <> pg_backend_pid()
    loop
        if v_reader.may_be_ended then
            perform pg_terminate_backend(v_reader.pid);
        else
            return next v_reader.told;
        end if;
    end loop;
end
$$;
comment on function eventstore.projection_end_readers(text, double precision) is
    'Ends the sessions of auditors that have been reading a projection''s live tables in one transaction for longer; returns the other sessions that read them.';
