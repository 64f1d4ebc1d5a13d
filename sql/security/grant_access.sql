-- Grants the roles their rights. The owner calls this after every migration. The engine reads everything, and writes the
-- log through append only; everything else that it may write can be made again: read tables, checkpoints. A snapshot is written
-- through write_snapshot. An owner who cannot create the roles keeps all rights, and runs the engine. An auditor reads everything,
-- too, and makes nothing: no temporary tables either, which could keep a migration waiting.
-- p_schemas: those of all code.
create or replace function eventstore.grant_access(p_schemas text[])
returns boolean
language plpgsql
as $$
declare
    v_schema text;
    v_statement text;
begin
    foreach v_schema in array p_schemas loop
        execute format('revoke execute on all functions in schema %I from public', v_schema);
    end loop;
    if not eventstore.make_roles() then
        if not pg_has_role((select n.nspowner from pg_namespace n where n.nspname = 'read'), 'usage') then
            raise exception 'the read tables belong to foldbook_engine, but % is not a member of that role', current_user
                using
                    errcode = 'FB004',
                    hint = format(
                        'Have a superuser run: grant foldbook_engine, foldbook_auditor to %I;', current_user
                    );
        end if;
        return false;
    end if;

    alter schema read owner to foldbook_engine;
    grant usage on schema read to foldbook_auditor;
    foreach v_schema in array p_schemas loop
        execute format('grant usage on schema %I to foldbook_engine, foldbook_auditor', v_schema);
        execute format('grant select on all tables in schema %I to foldbook_engine', v_schema);
        execute format('grant execute on all functions in schema %I to foldbook_engine', v_schema);
        execute format('grant select on all tables in schema %I to foldbook_auditor', v_schema);
        continue when v_schema in ('eventstore', 'brokers');
        execute format('grant execute on all functions in schema %I to foldbook_auditor', v_schema);
    end loop;
    grant insert, update, delete
    on eventstore.subscriptions, eventstore.projections, eventstore.projection_runs, eventstore.dead_letters
    to foldbook_engine;

    -- Objects that another role created, as in a restore without owners. An audit names those of whom we are no member.
    for v_statement in
        select format('alter table %s owner to foldbook_engine', c.oid::regclass)
        from pg_class c
        where c.relnamespace = 'read'::regnamespace
            and c.relkind = 'r'
            and c.relowner <> 'foldbook_engine'::regrole
            and pg_has_role(c.relowner, 'usage')
        union all
        select format('alter routine %s owner to foldbook_engine', p.oid::regprocedure)
        from pg_proc p
        where p.pronamespace = 'read'::regnamespace
            and p.proowner <> 'foldbook_engine'::regrole
            and pg_has_role(p.proowner, 'usage')
        union all
        select format('alter schema %I owner to foldbook_engine', n.nspname)
        from eventstore.projections p
        cross join unnest('{input,rebuild,verify}'::text[]) as s (copy)
        join pg_namespace n on n.nspname = eventstore.projection_schema(s.copy, p.name)
        where n.nspowner <> 'foldbook_engine'::regrole
        union all
        select format('alter table %s owner to foldbook_engine', c.oid::regclass)
        from eventstore.projections p
        join pg_class c on c.relnamespace = to_regnamespace(quote_ident(eventstore.projection_schema('input', p.name)))
        where c.relowner <> 'foldbook_engine'::regrole
    loop
        execute v_statement;
    end loop;
    -- A migration has made them again, and not the engine, whose default privileges would have done this.
    for v_statement in
        select format('grant select on %s to foldbook_auditor', c.oid::regclass)
        from eventstore.projections p
        join pg_class c on c.relnamespace = to_regnamespace(quote_ident(eventstore.projection_schema('input', p.name)))
        where not has_table_privilege('foldbook_auditor', c.oid, 'select')
    loop
        execute v_statement;
    end loop;

    if (select pg_has_role(d.datdba, 'usage') from pg_database d where d.datname = current_database()) then
        execute format('revoke temporary on database %I from public', current_database());
        execute format('revoke temporary on database %I from foldbook_engine', current_database());
    end if;

    grant select on all tables in schema read to foldbook_auditor;
    alter default privileges for role foldbook_engine grant select on tables to foldbook_auditor;
    -- The functions of the event store and of the gateways that only read.
    for v_statement in
        select format('grant execute on routine %s to foldbook_auditor', p.oid::regprocedure)
        from pg_proc p
        where p.pronamespace in ('eventstore'::regnamespace, 'brokers'::regnamespace)
            and p.provolatile <> 'v'
    loop
        execute v_statement;
    end loop;
    return true;
end
$$;
comment on function eventstore.grant_access is
    'Grants the engine and the auditors the rights that they need, and no more. False: there are no separate roles for them.';
