create or replace function eventstore.projection_lock(p_projection text, p_kind text)
returns boolean
language plpgsql
as $$
begin
    if not pg_try_advisory_lock(eventstore.projection_lock_class(), hashtext(p_projection)) then
        return false;
    end if;
    insert into eventstore.projection_runs (name, kind)
    values (p_projection, p_kind)
    on conflict (name) do update set
        kind = excluded.kind,
        events_done = 0,
        events_total = 0,
        started_at = clock_timestamp(),
        updated_at = clock_timestamp(),
        finished_at = null,
        error = null;
    return true;
end
$$;
comment on function eventstore.projection_lock(text, text) is
    'Begins a reset, rebuild or verification: the session holds the lock until it ends. False: another one is running.';
