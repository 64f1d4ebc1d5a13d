create or replace function eventstore.checkpoints()
returns table (name text, shard integer, checkpoint bigint)
language sql
stable parallel safe
begin atomic
    select
        s.name,
        s.shard,
        s.checkpoint
    from eventstore.subscriptions s;
end;
comment on function eventstore.checkpoints is 'The checkpoint of each subscription, one row per shard.';
