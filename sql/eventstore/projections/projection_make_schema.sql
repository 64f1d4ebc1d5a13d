create or replace function eventstore.projection_make_schema(p_copy text, p_projection text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner name := (select n.nspowner::regrole from pg_namespace n where n.nspname = 'read');
begin
    assert p_copy <> 'live';
    execute format('create schema %I authorization %s', eventstore.projection_schema(p_copy, p_projection), v_owner);
end
$$;
comment on function eventstore.projection_make_schema is
    'Creates a schema that belongs to a projection. Its owner is that of schema read: the engine, which may not create schemas itself.';
