create or replace function eventstore.projection_is_taken(p_projection text)
returns boolean
language sql
volatile
begin atomic
    select exists (
        select
        from pg_locks l
        join pg_class c on c.oid = l.relation
        join pg_namespace n on n.oid = c.relnamespace
        where l.locktype = 'relation'
            and l.database = (select d.oid from pg_database d where d.datname = current_database())
            and l.mode = 'ExclusiveLock'
            and l.granted
            and c.relname = 'turn'
            and n.nspname = eventstore.projection_schema('input', p_projection)
    );
end;
comment on function eventstore.projection_is_taken(text) is
    'Whether a reset, rebuild or verification of the projection has its turn.';
