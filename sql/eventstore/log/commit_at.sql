-- Commits are recorded in the order of their numbers, so bisection finds the last one up to a time. If the server's clock
-- was ahead and was put back, commits carry the time of the last one before that, until the clock gets there. Until then
-- nobody can say which of those were made up to an earlier time.
create or replace function eventstore.commit_at(p_shard integer, p_time timestamptz)
returns bigint
language plpgsql
stable
as $$
declare
    v_low bigint := 0;
    v_high bigint := (eventstore.head(p_shard)).number;
    v_middle bigint;
    v_next timestamptz;
begin
    while v_low < v_high loop
        v_middle := (v_low + v_high + 1) / 2;
        if (select c.recorded_at from eventstore.commits c where c.shard = p_shard and c.number = v_middle) <= p_time then
            v_low := v_middle;
        else
            v_high := v_middle - 1;
        end if;
    end loop;
    select c.recorded_at
    into v_next
    from eventstore.commits c
    where c.shard = p_shard
        and c.number = v_low + 1;
    if v_next > clock_timestamp() and p_time > '-infinity' then
        raise exception 'the clock of the log is ahead of the server''s: commits after number % were recorded at % or later',
            v_low, eventstore.rfc3339(v_next)
            using
                errcode = 'FB022',
                hint = 'Ask by log position, or for what is there now.';
    end if;
    return v_low;
end
$$;
comment on function eventstore.commit_at is
    'The number of the last commit of a shard that was recorded up to a time; 0 if there is none. FB022: the clock of the log is ahead, and nobody can say.';
