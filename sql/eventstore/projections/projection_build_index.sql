create or replace function eventstore.projection_build_index(p_projection text, p_run bigint, p_definition text)
returns void
language plpgsql
as $$
begin
    perform set_config('maintenance_work_mem', '256MB', true);
    execute p_definition;
    perform eventstore.projection_check_run(p_projection, p_run);
end
$$;
comment on function eventstore.projection_build_index(text, bigint, text) is
    'Builds an index that projection_defer_indexes dropped.';
