create or replace function eventstore.projection_begin(p_projection text, p_kind text)
returns bigint
language sql
begin atomic
    insert into eventstore.projection_runs (name, kind, number)
    values (p_projection, p_kind, 1)
    on conflict (name) do update set
        kind = excluded.kind,
        number = projection_runs.number + 1,
        events_done = 0,
        events_total = 0,
        started_at = clock_timestamp(),
        updated_at = clock_timestamp(),
        finished_at = null,
        error = null
    returning number;
end;
comment on function eventstore.projection_begin(text, text) is
    'Begins a reset, rebuild or verification, by whoever has the turn of the projection; returns the number of the run.';
