create or replace function eventstore.projection_progress(
    p_projection text, p_run bigint, p_events_done bigint, p_events_total bigint
)
returns void
language sql
begin atomic
    update eventstore.projection_runs r
    set
        events_done = p_events_done,
        events_total = p_events_total,
        updated_at = clock_timestamp()
    where r.name = p_projection
        and r.number = p_run
        and r.finished_at is null;
end;
comment on function eventstore.projection_progress(text, bigint, bigint, bigint) is
    'Records the progress of a reset, rebuild or verification.';
