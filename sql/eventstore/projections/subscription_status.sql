create or replace function eventstore.subscription_status(p_subscription text)
returns table (shard integer, checkpoint bigint, head bigint, lag bigint)
language sql
stable
begin atomic
    select
        h.shard,
        c.checkpoint,
        h.last_position,
        greatest(h.last_position - c.checkpoint, 0)
    from eventstore.heads() h
    cross join lateral (select eventstore.checkpoint(h.shard, p_subscription) as checkpoint) c
    order by h.shard;
end;
comment on function eventstore.subscription_status is
    'How far a subscription is in each shard, and how many events it is behind; before it began, as far as nowhere.';
