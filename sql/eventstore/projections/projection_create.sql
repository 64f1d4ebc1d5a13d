create or replace function eventstore.projection_create(
    p_copy text, p_projection text, p_definition text, p_aggregate_types text[], p_run bigint default null
)
returns text[]
language plpgsql
as $$
declare
    v_schema text := eventstore.projection_schema(p_copy, p_projection);
    v_path text := current_setting('search_path');
begin
    perform eventstore.projection_drop(p_copy, p_projection);
    perform eventstore.projection_make_schema(p_copy, p_projection);
    perform eventstore.projection_make_input(v_schema, p_aggregate_types, true);
    perform set_config('search_path', format('%I, pg_temp', v_schema), true);
    execute p_definition;
    perform set_config('search_path', v_path, true);

    if exists (select from pg_proc p where p.pronamespace = v_schema::regnamespace and p.prosqlbody is not null) then
        raise exception 'projection % is bound to the schema that it was created in', p_projection
            using
                errcode = 'FB014',
                hint = 'Write the body of its function as a string, without BEGIN ATOMIC: its names are looked up when it runs.';
    end if;

    insert into eventstore.subscriptions (shard, name, definition_hash)
    select
        s.shard,
        eventstore.projection_subscription(p_copy, p_projection),
        eventstore.projection_fingerprint(p_definition)
    from eventstore.log_info i
    cross join generate_series(0, i.shard_count - 1) as s (shard);

    if p_run is not null then
        perform eventstore.projection_check_run(p_projection, p_run);
    end if;
    return (
        select array_agg(c.relname order by c.relname)
        from pg_class c
        where c.relnamespace = v_schema::regnamespace
            and c.relkind = 'r'
    );
end
$$;
comment on function eventstore.projection_create(text, text, text, text[], bigint) is
    'Creates an empty shadow copy of a projection in its own schema, in place of an older one; returns its tables.';
