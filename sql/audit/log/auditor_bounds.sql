create or replace function audit.auditor_bounds()
returns table (login name, lacking text)
language sql
stable
set search_path = pg_catalog, pg_temp
begin atomic
    -- An auditor is a login that is a member of foldbook_auditor, and of nothing that may do more.
    with auditor as (
        select r.*
        from pg_roles r
        join pg_database d on d.datname = current_database()
        where r.rolcanlogin
            and not r.rolsuper
            and to_regrole('foldbook_engine') is not null
            and has_schema_privilege(r.oid, 'read', 'usage')
            and pg_has_role(r.oid, to_regrole('foldbook_auditor'), 'member')
            and not pg_has_role(r.oid, to_regrole('foldbook_engine'), 'member')
            and not pg_has_role(r.oid, d.datdba, 'member')
    )
    select
        a.rolname,
        b.name
    from auditor a
    cross join lateral (
        values
            ('connections', a.rolconnlimit >= 0),
            (
                'temp_files',
                exists (select from unnest(a.rolconfig) as s (setting) where s.setting ~ '^temp_file_limit=[^-]')
            ),
            (
                'objects',
                not (
                    has_database_privilege(a.oid, current_database(), 'temporary')
                    or has_function_privilege(a.oid, 'pg_catalog.lo_create(oid)', 'execute')
                    or coalesce(has_schema_privilege(a.oid, to_regnamespace('public'), 'create'), false)
                )
            )
    ) as b (name, is_there)
    where not b.is_there
    order by
        a.rolname,
        b.name;
end;
comment on function audit.auditor_bounds() is
    'The logins of auditors that lack a bound: of connections, of temporary files, of what they may create.';
