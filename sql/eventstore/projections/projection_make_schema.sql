-- A schema of any name could stand in the search_path of the owner or of an auditor. A login that is the owner may make
-- others, as tests do.
create or replace function eventstore.projection_make_schema(p_copy text, p_projection text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner name := (select n.nspowner::regrole from pg_namespace n where n.nspname = 'read');
begin
    assert p_copy is distinct from 'live';
    if not pg_has_role(session_user, current_user, 'member')
        and not (
            coalesce(p_copy, '') = any ('{input,rebuild,verify}')
            and exists (
                select
                from eventstore.code c
                where c.object is null
                    and split_part(c.path, '/projections/', 2) = p_projection || '.sql'
            )
        )
    then
        raise exception 'there is no projection % to make a schema % for', p_projection, p_copy
            using errcode = 'FB030';
    end if;
    execute format('create schema %I authorization %s', eventstore.projection_schema(p_copy, p_projection), v_owner);
end
$$;
comment on function eventstore.projection_make_schema is
    'Creates a schema that belongs to a projection. Its owner is that of schema read: the engine, which may not create schemas itself.';
