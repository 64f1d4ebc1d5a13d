-- Commits begin at growing positions, so bisection finds the last one that begins at or before a position.
create or replace function eventstore.commit_of(p_shard integer, p_position bigint)
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
        if (
            select c.first_position <= p_position
            from eventstore.commits c
            where c.shard = p_shard and c.number = v_middle
        ) then
            v_low := v_middle;
        else
            v_high := v_middle - 1;
        end if;
    end loop;
    return v_low;
end
$$;
comment on function eventstore.commit_of is 'The number of the commit that wrote a position of a shard; 0 for position 0.';
