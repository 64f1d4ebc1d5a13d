create or replace function eventstore.projection_progress(
    p_projection text, p_events_done bigint, p_events_total bigint
)
returns void
language sql
begin atomic
    update eventstore.projection_runs r
    set
        events_done = p_events_done,
        events_total = p_events_total,
        updated_at = clock_timestamp()
    where r.name = p_projection;
end;
comment on function eventstore.projection_progress(text, bigint, bigint) is
    'Records the progress of a reset, rebuild or verification.';
