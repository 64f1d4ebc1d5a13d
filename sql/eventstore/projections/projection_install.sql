create or replace function eventstore.projection_install(
    p_projection text, p_definition text, p_aggregate_types text[]
)
returns boolean
language plpgsql
as $$
begin
    if exists (select from eventstore.projections p where p.name = p_projection) then
        return false;
    end if;
    lock table eventstore.projections in share row exclusive mode; -- One process installs at a time.
    if exists (select from eventstore.projections p where p.name = p_projection) then
        return false;
    end if;
    perform eventstore.projection_create('rebuild', p_projection, p_definition, p_aggregate_types);
    perform eventstore.projection_replace(p_projection, p_aggregate_types);
    return true;
end
$$;
comment on function eventstore.projection_install(text, text, text[]) is
    'Creates the empty tables of a projection that is not installed yet. False: it is installed, perhaps from another file.';
