create or replace function eventstore.projection_make_input(p_schema text, p_aggregate_types text[])
returns void
language plpgsql
as $$
begin
    execute format('create view %I.log as %s', p_schema, eventstore.projection_input(p_aggregate_types));
end
$$;
comment on function eventstore.projection_make_input(text, text[]) is
    'Creates the view `log` that a copy of a projection reads.';
