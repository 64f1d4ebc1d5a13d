-- Takes back whatever anybody was given who is not the owner, before grant_access grants what each role needs. What another
-- role than ours may only read, it was given by whoever runs the database, and keeps.
create or replace function eventstore.revoke_access(p_schemas text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_statement text;
begin
    for v_statement in
        with held (target, owner, acl, harmless) as (
            select format('schema %I', n.nspname), n.nspowner, n.nspacl, '{USAGE}'::text[]
            from pg_namespace n
            where n.nspname = any (p_schemas)
            union all
            select format('table %s', c.oid::regclass), c.relowner, l.acl, '{SELECT}'
            from pg_class c
            cross join lateral (
                select c.relacl as acl
                union all
                select a.attacl from pg_attribute a where a.attrelid = c.oid
            ) l
            where c.relnamespace = any (p_schemas::regnamespace[])
                and c.relkind in ('r', 'v', 'm', 'f', 'p')
            union all
            select
                format('routine %s', p.oid::regprocedure), p.proowner, p.proacl,
                case when p.prosecdef then '{}'::text[] else '{EXECUTE}' end
            from pg_proc p
            where p.pronamespace = any (p_schemas::regnamespace[])
        )
        select distinct format(
            'revoke all on %s from %s cascade', h.target,
            case e.grantee when 0 then 'public' else e.grantee::regrole::text end
        )
        from held h
        cross join lateral aclexplode(h.acl) e
        where e.grantee <> h.owner
            and (
                e.grantee in (0, to_regrole('foldbook_engine'), to_regrole('foldbook_auditor'))
                or e.privilege_type <> all (h.harmless)
                or e.is_grantable
            )
    loop
        execute v_statement;
    end loop;
end
$$;
comment on function eventstore.revoke_access is
    'Takes back every right on the code and its tables but the owner''s; what other roles may read, they keep.';
