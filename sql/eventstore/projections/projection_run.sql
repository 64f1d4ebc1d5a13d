-- The locks are those of this moment, the row is that of a snapshot. A run ends before it gives back its turn. So one that
-- had not ended, and whose turn was free afterwards, is interrupted only if it has still not ended when it is looked at
-- again. Volatile: each look takes a new snapshot.
create or replace function eventstore.projection_run(p_projection text)
returns jsonb
language plpgsql
volatile
as $$
declare
    v_run eventstore.projection_runs;
    v_state text;
    v_free_number bigint;
    v_seconds numeric;
begin
    loop
        select r.* into v_run from eventstore.projection_runs r where r.name = p_projection;
        if not found then
            return null;
        end if;
        v_state := case
            when v_run.error is not null then 'failed'
            when v_run.finished_at is not null then 'finished'
            when v_run.number = v_free_number then 'interrupted'
            -- A replica has the rows of the primary, and not its locks.
            when pg_is_in_recovery() or eventstore.projection_is_taken(p_projection) then 'running'
        end;
        exit when v_state is not null;
        v_free_number := v_run.number;
    end loop;
    v_seconds := greatest(extract(epoch from coalesce(v_run.finished_at, v_run.updated_at) - v_run.started_at), 0.001);
    return jsonb_build_object(
        'kind', v_run.kind,
        'state', v_state,
        'events_done', v_run.events_done,
        'events_total', v_run.events_total,
        'events_per_second', round(v_run.events_done / v_seconds),
        'eta_seconds', case
            when v_state = 'running' and v_run.events_done > 0
                then round((v_run.events_total - v_run.events_done) * v_seconds / v_run.events_done, 1)
        end,
        'started_at', v_run.started_at,
        'finished_at', v_run.finished_at,
        'error', v_run.error
    );
end
$$;
comment on function eventstore.projection_run(text) is
    'The last reset, rebuild or verification of a projection. Its state: running, finished, failed; interrupted: its process died.';
