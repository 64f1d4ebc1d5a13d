create or replace function audit.subscription_reach(p_name text)
returns table (shard integer, checkpoint bigint, head bigint)
language sql
stable
set search_path = pg_catalog, pg_temp
begin atomic
    select
        s.shard,
        coalesce(r.checkpoint, 0),
        (eventstore.head(s.shard)).last_position
    from eventstore.log_info i
    cross join generate_series(0, i.shard_count - 1) as s (shard)
    left join eventstore.subscriptions r on r.name = p_name and r.shard = s.shard
    order by s.shard;
end;
comment on function audit.subscription_reach is
    'How far a subscription, such as a projection''s, has read each shard: its checkpoint, and the end of the shard''s log.';
