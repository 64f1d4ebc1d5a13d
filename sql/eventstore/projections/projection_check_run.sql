-- Called at the end of what a run does. Whoever has the turn begins another run before it drops the copies of earlier ones,
-- and dropping them waits for what is under way. So what this lets through was done to the run's own copy, and the rest
-- is undone.
create or replace function eventstore.projection_check_run(p_projection text, p_run bigint)
returns void
language plpgsql
as $$
begin
    if not exists (
        select from eventstore.projection_runs r where r.name = p_projection and r.number = p_run and r.finished_at is null
    ) then
        raise exception 'run % of projection % has lost its turn', p_run, p_projection using errcode = 'FB021';
    end if;
end
$$;
comment on function eventstore.projection_check_run(text, bigint) is
    'Raises FB021 unless this is the run of the projection that is under way.';
