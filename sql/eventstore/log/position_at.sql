create or replace function eventstore.position_at(p_shard integer, p_time timestamptz)
returns bigint
language plpgsql
stable
as $$
begin
    return coalesce(
        (
            select c.last_position
            from eventstore.commits c
            where c.shard = p_shard and c.number = eventstore.commit_at(p_shard, p_time)
        ),
        0
    );
end
$$;
comment on function eventstore.position_at is
    'The last position of a shard that was recorded up to a time, by the database''s clock.';
