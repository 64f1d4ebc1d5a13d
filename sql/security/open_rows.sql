create or replace function eventstore.open_rows(p_schemas text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_statement text;
begin
    for v_statement in
        select format('drop policy %I on %s', p.polname, c.oid::regclass)
        from pg_policy p
        join pg_class c on c.oid = p.polrelid
        where c.relnamespace = any (p_schemas::regnamespace[])
        union all
        select format('alter table %s disable row level security, no force row level security', c.oid::regclass)
        from pg_class c
        where c.relnamespace = any (p_schemas::regnamespace[])
            and (c.relrowsecurity or c.relforcerowsecurity)
    loop
        execute v_statement;
    end loop;
end
$$;
comment on function eventstore.open_rows is
    'Ends row security on our tables: whoever may read one reads all of it.';
