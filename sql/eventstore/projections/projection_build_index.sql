create or replace function eventstore.projection_build_index(p_definition text)
returns void
language plpgsql
as $$
begin
    perform set_config('maintenance_work_mem', '256MB', true);
    execute p_definition;
end
$$;
comment on function eventstore.projection_build_index(text) is
    'Builds an index that projection_defer_indexes dropped.';
