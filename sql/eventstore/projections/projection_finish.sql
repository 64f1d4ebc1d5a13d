create or replace function eventstore.projection_finish(p_projection text, p_run bigint, p_error text default null)
returns void
language plpgsql
as $$
begin
    perform eventstore.projection_check_run(p_projection, p_run);
    update eventstore.projection_runs r
    set
        updated_at = clock_timestamp(),
        finished_at = clock_timestamp(),
        error = p_error
    where r.name = p_projection
        and r.number = p_run;
end
$$;
comment on function eventstore.projection_finish(text, bigint, text) is
    'Ends a reset, rebuild or verification, with an error if it failed; only then its turn is given back.';
