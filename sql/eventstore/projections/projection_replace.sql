-- The view `log` that the live projection reads, and its turn, are in schema input_<projection>, which stays.
create or replace function eventstore.projection_replace(
    p_projection text, p_aggregate_types text[]
)
returns void
language plpgsql
as $$
declare
    v_shadow text := eventstore.projection_schema('rebuild', p_projection);
    v_input text := eventstore.projection_schema('input', p_projection);
    v_tables text[];
    v_table text;
begin
    execute format('drop function if exists read.%I(integer, bigint, bigint)', 'project_' || p_projection);
    for v_table in
        select unnest(p.tables)
        from eventstore.projections p
        where p.name = p_projection
    loop
        execute format('drop table read.%I', v_table);
    end loop;
    if to_regnamespace(quote_ident(v_input)) is null then
        perform eventstore.projection_make_schema('input', p_projection);
    end if;
    perform eventstore.projection_make_turn(p_projection);
    execute format('drop view if exists %I.log', v_input);
    perform eventstore.projection_make_input(v_input, p_aggregate_types, false);

    select array_agg(c.relname order by c.relname)
    into v_tables
    from pg_class c
    where c.relnamespace = v_shadow::regnamespace
        and c.relkind = 'r';
    foreach v_table in array v_tables loop
        execute format('alter table %I.%I set schema read', v_shadow, v_table);
    end loop;
    execute format(
        'alter function %I.%I(integer, bigint, bigint) set schema read', v_shadow, 'project_' || p_projection
    );
    execute format('drop view %I.log', v_shadow);
    execute format('drop schema %I', v_shadow);

    insert into eventstore.projections (name, definition_hash, aggregate_types, tables)
    select p_projection, min(s.definition_hash), p_aggregate_types, v_tables
    from eventstore.subscriptions s
    where s.name = eventstore.projection_subscription('rebuild', p_projection)
    on conflict (name) do update set
        definition_hash = excluded.definition_hash,
        aggregate_types = excluded.aggregate_types,
        tables = excluded.tables,
        installed_at = clock_timestamp();

    delete from eventstore.subscriptions s
    where s.name = p_projection;
    update eventstore.subscriptions s
    set name = p_projection
    where s.name = eventstore.projection_subscription('rebuild', p_projection);
    perform eventstore.subscription_move(s.name, s.shard, s.checkpoint)
    from eventstore.subscriptions s
    where s.name = p_projection;
end
$$;
comment on function eventstore.projection_replace(text, text[]) is
    'Drops the live tables, function and checkpoints of a projection and replaces them with those of its rebuilt copy.';
