create or replace function eventstore.projection_finish(p_projection text, p_error text default null)
returns void
language plpgsql
as $$
begin
    update eventstore.projection_runs r
    set
        updated_at = clock_timestamp(),
        finished_at = clock_timestamp(),
        error = p_error
    where r.name = p_projection;
    perform pg_advisory_unlock(eventstore.projection_lock_class(), hashtext(p_projection));
end
$$;
comment on function eventstore.projection_finish(text, text) is
    'Ends a reset, rebuild or verification, with an error if it failed.';
