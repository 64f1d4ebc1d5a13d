-- An advisory lock would be free to every login, and the lock of a row would hold back vacuum for as long as a rebuild
-- takes: it gives the transaction an id. The lock of a table does neither. Only the engine may name this one.
create or replace function eventstore.projection_make_turn(p_projection text)
returns void
language plpgsql
as $$
declare
    v_schema text := eventstore.projection_schema('input', p_projection);
    v_owner name := (select n.nspowner::regrole from pg_namespace n where n.nspname = 'read');
begin
    if to_regclass(format('%I.turn', v_schema)) is null then
        execute format('create table %I.turn ()', v_schema);
        execute format('alter table %I.turn owner to %s', v_schema, v_owner);
    end if;
end
$$;
comment on function eventstore.projection_make_turn(text) is
    'Creates the empty table that a reset, rebuild or verification of the projection locks for as long as it lasts.';
