-- What only a superuser can do for Foldbook, in its database: the roles, and what bounds an auditor. To be run again
-- whenever there is a new auditor's login; nothing that was set otherwise before is changed. The embedded server runs it
-- at every start. It calls nothing that the database's owner could have made.
do $prepare$
declare
    v_owner name;
    v_role name;
    v_setting record;
    v_function regprocedure;
begin
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    select r.rolname
    into v_owner
    from pg_database d
    join pg_roles r on r.oid = d.datdba
    where d.datname = current_database();

    foreach v_role in array array['foldbook_engine', 'foldbook_auditor'] loop
        if to_regrole(v_role) is null then
            execute format('create role %I', v_role);
        end if;
        if not pg_has_role(v_owner, v_role, 'member') then
            execute format('grant %I to %I', v_role, v_owner);
        end if;
    end loop;

    -- An auditor is a login that is a member of foldbook_auditor, and of nothing that may do more.
    for v_role in
        select r.rolname
        from pg_roles r
        where pg_has_role(r.oid, 'foldbook_auditor'::regrole, 'member')
            and (r.rolcanlogin or r.rolname = 'foldbook_auditor')
            and not r.rolsuper
            and not pg_has_role(r.oid, 'foldbook_engine'::regrole, 'member')
            and not pg_has_role(r.oid, v_owner::regrole, 'member')
    loop
        if (select r.rolconnlimit from pg_roles r where r.rolname = v_role) = -1 then
            execute format('alter role %I connection limit 16', v_role);
        end if;
        for v_setting in
            select
                s.name,
                s.value
            from (
                values
                    ('temp_file_limit', '1GB', 150000), -- enforced: only a superuser can change it
                    ('statement_timeout', '15min', 150000),
                    ('lock_timeout', '10s', 150000),
                    ('idle_in_transaction_session_timeout', '1min', 150000),
                    ('transaction_timeout', '30min', 170000)
            ) as s (name, value, since)
            where s.since <= current_setting('server_version_num')::integer
                and not exists (
                    select
                    from pg_roles r
                    cross join unnest(r.rolconfig) as c (setting)
                    where r.rolname = v_role
                        and split_part(c.setting, '=', 1) = s.name
                )
        loop
            execute format('alter role %I set %I = %L', v_role, v_setting.name, v_setting.value);
        end loop;
    end loop;

    -- Only the owner makes large objects, temporary tables, and anything in schema public. A dump names these rights, and
    -- so the owner who restores it must have them.
    for v_function in
        select p.oid::regprocedure
        from pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace
            and p.proname in ('lo_creat', 'lo_create', 'lo_from_bytea')
    loop
        execute format('revoke execute on function %s from public', v_function);
        execute format('grant execute on function %s to %I', v_function, v_owner);
    end loop;
    execute format('revoke temporary on database %I from public', current_database());
    if to_regnamespace('public') is not null then
        revoke create on schema public from public;
    end if;
end
$prepare$;
