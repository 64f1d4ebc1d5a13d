-- Commits are recorded in the order of their numbers, so bisection finds the last one up to a time.
create or replace function eventstore.commit_at(p_shard integer, p_time timestamptz)
returns bigint
language plpgsql
stable
as $$
declare
    v_low bigint := 0;
    v_high bigint := (eventstore.head(p_shard)).number;
    v_middle bigint;
begin
    while v_low < v_high loop
        v_middle := (v_low + v_high + 1) / 2;
        if (select c.recorded_at from eventstore.commits c where c.shard = p_shard and c.number = v_middle) <= p_time then
            v_low := v_middle;
        else
            v_high := v_middle - 1;
        end if;
    end loop;
    return v_low;
end
$$;
comment on function eventstore.commit_at is 'The number of the last commit of a shard that was recorded up to a time; 0 if there is none.';
