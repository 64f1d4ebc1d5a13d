-- What psql can see by itself, without the program's files. `foldbook audit verify` compares everything with those.
create or replace view audit.missing_guards as
with key (table_name, index_name) as (
    values
        ('events', 'events_pkey'),
        ('events', 'events_aggregate'),
        ('events', 'events_subject'),
        ('commands', 'commands_pkey'),
        ('commits', 'commits_pkey')
),
guarded as (
    select
        g.name as table_name,
        c.oid,
        c.relowner,
        c.relacl,
        c.relpersistence,
        c.relrowsecurity,
        c.relforcerowsecurity
    from (values ('events'), ('commands'), ('commits')) as g (name)
    left join pg_class c
        on c.relname = g.name
        and c.relnamespace = to_regnamespace('eventstore')
)
select format('table %s has no trigger that refuses changes', g.table_name) as guard
from guarded g
where not exists (
    select
    from pg_trigger t
    where t.tgrelid = g.oid
        and t.tgname = 'refuse_change'
        and t.tgenabled = 'A'
        and t.tgtype = 2 + 8 + 16 + 32 -- before, delete, update, truncate: for each statement
        and t.tgqual is null
        and t.tgfoid = to_regproc('eventstore.refuse_change')
)
union all
select 'function refuse_change does not refuse whatever it is called for'
where not exists (
    select
    from pg_proc p
    where p.oid = to_regproc('eventstore.refuse_change')
        and p.prosrc ~ '^[[:space:]]*begin[[:space:]]+raise exception '
)
union all
select format('table %s has a trigger of somebody else: %s', g.table_name, t.tgname)
from guarded g
join pg_trigger t on t.tgrelid = g.oid
where not t.tgisinternal
    and t.tgname <> 'refuse_change'
union all
select format('table %s has a rule: %s', g.table_name, w.rulename)
from guarded g
join pg_rewrite w on w.ev_class = g.oid
union all
select format('table %s hides rows: it has row security', g.table_name)
from guarded g
where g.relrowsecurity or g.relforcerowsecurity
union all
select format('table %s is not logged', g.table_name)
from guarded g
where g.relpersistence <> 'p'
union all
select format('table %s shows the rows of %s, too', g.table_name, i.inhrelid::regclass)
from guarded g
join pg_inherits i on i.inhparent = g.oid
union all
select format('table %s lacks its unique key %s', k.table_name, k.index_name)
from key k
where not exists (
    select
    from pg_index i
    where i.indexrelid = to_regclass('eventstore.' || k.index_name)
        and i.indrelid = to_regclass('eventstore.' || k.table_name)
        and i.indisunique
        and i.indisvalid
)
union all
select format(
    'role %s was given %s on table %s',
    case a.grantee when 0 then 'public' else a.grantee::regrole::text end, a.privilege_type, g.table_name
)
from guarded g
cross join lateral (
    select g.relacl as acl
    union all
    select t.attacl from pg_attribute t where t.attrelid = g.oid
) l
cross join lateral aclexplode(l.acl) a
where a.grantee <> g.relowner
    and a.privilege_type not in ('SELECT', 'MAINTAIN')
union all
select format('role %s may do anything', r.rolname)
from pg_roles r
where r.rolname in ('foldbook_engine', 'foldbook_auditor')
    and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolreplication);
comment on view audit.missing_guards is
    'What should protect the log and does not, as far as the database can say it of itself. No row: nothing is seen to be wrong.';
