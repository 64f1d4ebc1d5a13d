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
comment on function eventstore.checkpoints is 'How far each subscription has come, one row per shard.';
