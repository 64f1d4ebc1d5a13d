create or replace function eventstore.checkpoint(p_shard integer, p_name text)
returns bigint
language sql
stable parallel safe
begin atomic
    select min(coalesce(s.checkpoint, 0))
    from eventstore.log_info i
    cross join lateral generate_series(coalesce(p_shard, 0), coalesce(p_shard, i.shard_count - 1)) as asked (shard)
    left join eventstore.subscriptions s on s.shard = asked.shard and s.name = p_name;
end;
comment on function eventstore.checkpoint is
    'The position up to which a subscription has done its work, 0 before it began; without a shard, the lowest of all shards.';
