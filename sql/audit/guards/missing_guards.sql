create or replace view audit.missing_guards as
with key (table_name, index_name) as (
    values
        ('events', 'events_pkey'),
        ('events', 'events_aggregate'),
        ('events', 'events_subject'),
        ('commands', 'commands_pkey'),
        ('commits', 'commits_pkey')
),
guarded (table_name) as (
    values ('events'), ('commands'), ('commits')
)
select format('table %s has no trigger that refuses changes', g.table_name) as guard
from guarded g
where not exists (
    select
    from pg_trigger t
    where t.tgrelid = to_regclass('eventstore.' || g.table_name)
        and t.tgname = 'refuse_change'
        and t.tgenabled = 'A'
)
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
join pg_class c on c.oid = to_regclass('eventstore.' || g.table_name)
cross join lateral aclexplode(c.relacl) a
where a.grantee <> c.relowner
    and a.privilege_type not in ('SELECT', 'MAINTAIN');
comment on view audit.missing_guards is
    'The triggers, unique keys and rights that should protect the log but do not. No row: all is well.';
