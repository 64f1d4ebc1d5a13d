create or replace function eventstore.heads()
returns table (shard integer, last_position bigint)
language sql
stable
as $$
    select s.shard, (eventstore.head(s.shard)).last_position
    from eventstore.log_info i
    cross join lateral generate_series(0, i.shard_count - 1) s (shard)
    order by s.shard;
$$;
comment on function eventstore.heads is 'The last position of each shard.';
