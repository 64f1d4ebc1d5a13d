create or replace function eventstore.projection_retire(p_projections text[])
returns setof text
language plpgsql
as $$
declare
    v_retired record;
    v_table text;
    v_turn regclass;
begin
    for v_retired in
        select p.name, p.tables
        from eventstore.projections p
        where p.name <> all (p_projections)
        order by p.name
    loop
        v_turn := to_regclass(format('%I.turn', eventstore.projection_schema('input', v_retired.name)));
        if v_turn is not null then
            execute format('lock table %s in access exclusive mode', v_turn);
        end if;
        foreach v_table in array v_retired.tables loop
            execute format('drop table if exists read.%I', v_table);
        end loop;
        execute format('drop function if exists read.%I(integer, bigint, bigint)', 'project_' || v_retired.name);
        execute format('drop schema if exists %I cascade', eventstore.projection_schema('input', v_retired.name));
        perform eventstore.projection_drop(c.copy, v_retired.name) from unnest('{rebuild,verify}'::text[]) as c (copy);
        delete from eventstore.subscriptions s where s.name = v_retired.name;
        delete from eventstore.projection_runs r where r.name = v_retired.name;
        delete from eventstore.projections p where p.name = v_retired.name;
        return next v_retired.name;
    end loop;
end
$$;
comment on function eventstore.projection_retire(text[]) is
    'Drops every projection but these, with its tables and checkpoints, because its file is gone. Skipped events stay on record.';
