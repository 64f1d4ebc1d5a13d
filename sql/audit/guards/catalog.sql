-- Everything in the database that could change what the log is, what it says, or who may write it. Two databases that were
-- migrated by the same program have the same rows.
--
-- The body of this function is also what `foldbook audit verify` sends by itself, from its own copy of this file: a function
-- in the database may lie. It compares the rows with those of a database that it made from the files (docs/audit.md).
--
-- $1: the schemas of the code, and read. Roles are named by what they are for: whoever owns schema eventstore is `owner`.
-- What another role may only read, it was given by whoever runs the database, and is not told. The text of a definition
-- depends on search_path, and on the version of the server.
create or replace function audit.catalog(text[])
returns table (object text, kind text, name text, detail text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive namespace as (
        select
            n.oid,
            n.nspname,
            n.nspowner,
            n.nspacl
        from pg_namespace n
        where n.nspname = any ($1)
            or n.nspname ~ '^input_'
    ),
    role as (
        select
            r.oid,
            case
                when r.oid = (select n.nspowner from namespace n where n.nspname = 'eventstore') then 'owner'
                else r.rolname::text
            end as name
        from pg_roles r
        union all
        select 0, 'public'
    ),
    relation as (
        select
            c.*,
            n.nspname,
            format('%I.%I', n.nspname, c.relname) as name
        from pg_class c
        join namespace n on n.oid = c.relnamespace
        where c.relkind <> 'i'
    ),
    routine as (
        select
            p.*,
            format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as name
        from pg_proc p
        join namespace n on n.oid = p.pronamespace
    ),
    member (role, of) as (
        select m.member, m.roleid
        from pg_auth_members m
        join pg_roles r on r.oid = m.member
        where r.rolname in ('foldbook_engine', 'foldbook_auditor')
        union
        select b.role, m.roleid
        from member b
        join pg_auth_members m on m.member = b.of
    ),
    -- What may be done by whom, in one row each.
    access (object, owner, acl, is_harmless) as (
        select n.nspname::text, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner)), '{USAGE}'::text[]
        from namespace n
        union all
        select r.name, r.relowner, coalesce(r.relacl, acldefault('r', r.relowner)), '{SELECT}'
        from relation r
        union all
        select format('%s.%I', r.name, a.attname), r.relowner, a.attacl, '{SELECT}'
        from relation r
        join pg_attribute a on a.attrelid = r.oid
        where a.attacl is not null
        union all
        select
            p.name, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)),
            case when p.prosecdef then '{}'::text[] else '{EXECUTE}' end
        from routine p
    ),
    granted as (
        select
            a.object,
            g.name as grantee,
            string_agg(
                e.privilege_type || case when e.is_grantable then ' with grant option' else '' end,
                ', ' order by e.privilege_type
            ) as privileges
        from access a
        cross join lateral aclexplode(a.acl) e
        join role g on g.oid = e.grantee
        where e.grantee <> a.owner
            and e.privilege_type <> 'MAINTAIN'
            and not (
                g.name not in ('owner', 'public', 'foldbook_engine', 'foldbook_auditor')
                and e.privilege_type = any (a.is_harmless)
                and not e.is_grantable
            )
        group by a.object, g.name
    )
    select n.nspname::text, 'owner', n.nspname::text, r.name
    from namespace n
    join role r on r.oid = n.nspowner
    union all
    select r.name, 'owner', r.name, o.name
    from relation r
    join role o on o.oid = r.relowner
    where r.relkind <> 't'
    union all
    select p.name, 'owner', p.name, o.name
    from routine p
    join role o on o.oid = p.proowner
    union all
    select g.object, 'grant', format('to %s on %s', g.grantee, g.object), g.privileges
    from granted g
    union all
    select
        r.name,
        'relation',
        r.name,
        concat_ws(
            ', ',
            case r.relkind when 'r' then 'table' when 'v' then 'view' when 'S' then 'sequence' else 'kind ' || r.relkind::text end,
            case when r.relpersistence <> 'p' then 'persistence ' || r.relpersistence::text end,
            case when r.relkind = 'v' then array_to_string(r.reloptions, ', ') end,
            case when r.relispartition then 'a partition' end
        )
    from relation r
    union all
    select r.name, 'row security', r.name, case when r.relforcerowsecurity then 'forced' else 'on' end
    from relation r
    where r.relrowsecurity or r.relforcerowsecurity
    union all
    select r.name, 'policy', format('%I on %s', p.polname, r.name),
        concat_ws(
            ' ', p.polcmd::text, p.polpermissive::text, pg_get_expr(p.polqual, p.polrelid),
            pg_get_expr(p.polwithcheck, p.polrelid)
        )
    from relation r
    join pg_policy p on p.polrelid = r.oid
    union all
    select r.name, 'view', r.name, pg_get_viewdef(r.oid)
    from relation r
    where r.relkind in ('v', 'm')
    union all
    select r.name, 'rule', format('%I on %s', w.rulename, r.name), pg_get_ruledef(w.oid)
    from relation r
    join pg_rewrite w on w.ev_class = r.oid
    where w.rulename <> '_RETURN'
    union all
    select r.name, 'trigger', format('%I on %s', t.tgname, r.name), t.tgenabled::text || ': ' || pg_get_triggerdef(t.oid)
    from relation r
    join pg_trigger t on t.tgrelid = r.oid
    where not t.tgisinternal
    union all
    select
        r.name,
        'column',
        format('%s.%I', r.name, a.attname),
        concat_ws(
            ' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
            'default ' || pg_get_expr(d.adbin, d.adrelid), nullif(a.attgenerated::text, ''), nullif(a.attidentity::text, ''),
            (select format('collate %I', k.collname) from pg_collation k where k.oid = a.attcollation and k.collname <> 'default')
        )
    from relation r
    join pg_attribute a on a.attrelid = r.oid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where r.relkind in ('r', 'p')
        and a.attnum > 0
        and not a.attisdropped
    union all
    select r.name, 'constraint', format('%I on %s', k.conname, r.name), pg_get_constraintdef(k.oid)
    from relation r
    join pg_constraint k on k.conrelid = r.oid
    where k.contype not in ('n', 't') -- A server of version 18 lists what is not null here, too.
    union all
    select
        r.name,
        'index',
        format('%I on %s', c.relname, r.name),
        concat_ws(
            ', ', pg_get_indexdef(i.indexrelid), case when not i.indisvalid then 'invalid' end,
            case when not i.indisready then 'not ready' end, case when not i.indislive then 'dead' end
        )
    from relation r
    join pg_index i on i.indrelid = r.oid
    join pg_class c on c.oid = i.indexrelid
    union all
    select r.name, 'inheritance', format('%s under %s', i.inhrelid::regclass, i.inhparent::regclass), ''
    from relation r
    join pg_inherits i on r.oid in (i.inhrelid, i.inhparent)
    union all
    select r.name, 'replication', format('a subscription writes %s', r.name), ''
    from relation r
    join pg_subscription_rel s on s.srrelid = r.oid
    union all
    select
        p.name,
        'function',
        p.name,
        case
            when p.prokind = 'a' then (
                select concat_ws(
                    ' ', a.aggkind::text, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
                    a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn, a.aggtranstype::regtype, a.agginitval, a.aggfinalmodify::text,
                    a.aggsortop::regoper
                )
                from pg_aggregate a
                where a.aggfnoid = p.oid
            )
            else pg_get_functiondef(p.oid)
        end
    from routine p
    union all
    -- Types, operators, whatever else a schema can hold.
    select i.schema, 'object', format('%s %s', i.type, i.identity), ''
    from namespace n
    join pg_depend d on d.refclassid = 'pg_namespace'::regclass and d.refobjid = n.oid
    cross join lateral pg_identify_object(d.classid, d.objid, 0) i
    where d.classid not in ('pg_class'::regclass, 'pg_proc'::regclass)
    union all
    select null, 'cast', format('%s to %s', c.castsource::regtype, c.casttarget::regtype), c.castfunc::regprocedure::text
    from pg_cast c
    where c.oid >= 16384
        and not exists (
            select from pg_depend d where d.classid = 'pg_cast'::regclass and d.objid = c.oid and d.deptype = 'e'
        )
    union all
    select null, 'event trigger', e.evtname::text, concat_ws(' ', e.evtevent, e.evtfoid::regprocedure, e.evtenabled::text)
    from pg_event_trigger e
    where not exists (
            select from pg_depend d where d.classid = 'pg_event_trigger'::regclass and d.objid = e.oid and d.deptype = 'e'
        )
    union all
    select n.nspname::text, 'default privileges', concat_ws(' ', r.name, d.defaclobjtype, 'to', g.name),
        string_agg(a.privilege_type, ', ' order by a.privilege_type) filter (where a.privilege_type <> 'MAINTAIN')
    from pg_default_acl d
    join role r on r.oid = d.defaclrole
    left join namespace n on n.oid = d.defaclnamespace
    cross join lateral aclexplode(d.defaclacl) a
    join role g on g.oid = a.grantee
    where r.name in ('owner', 'foldbook_engine', 'foldbook_auditor')
        and (n.oid is not null or d.defaclnamespace = 0)
        and r.name <> g.name
    group by n.nspname, r.name, d.defaclobjtype, g.name
    union all
    select null, 'role', r.rolname::text,
        concat_ws(
            ', ', case when r.rolsuper then 'superuser' end, case when r.rolbypassrls then 'bypassrls' end,
            case when r.rolcreaterole then 'createrole' end, case when r.rolcreatedb then 'createdb' end,
            case when r.rolreplication then 'replication' end
        )
    from pg_roles r
    where r.rolname in ('foldbook_engine', 'foldbook_auditor')
    union all
    select null, 'membership', format('%s in %s', r.name, g.name), ''
    from member m
    join role r on r.oid = m.role
    join role g on g.oid = m.of
    union all
    select null, 'projection', p.name, concat_ws(' ', p.definition_hash, array_to_string(p.tables, ' '))
    from eventstore.projections p
$$;
comment on function audit.catalog is
    'What could change the log, what it says, or who may write it, as this database has it: definitions, owners, rights, triggers.';
