-- A migration that replaces code drops the view eventstore.log, and with it every view that reads it.
create or replace function eventstore.projection_make_inputs()
returns void
language plpgsql
as $$
declare
    v_projection eventstore.projections;
    v_schema text;
begin
    for v_projection in
        select p.*
        from eventstore.projections p
        order by p.name
    loop
        v_schema := eventstore.projection_schema('input', v_projection.name);
        if to_regnamespace(quote_ident(v_schema)) is null then
            perform eventstore.projection_make_schema('input', v_projection.name);
        end if;
        perform eventstore.projection_make_input(v_schema, v_projection.aggregate_types, false);
        perform eventstore.projection_make_turn(v_projection.name);
    end loop;
end
$$;
comment on function eventstore.projection_make_inputs is
    'Creates the views `log` of the live projections again, after a migration has dropped them.';
