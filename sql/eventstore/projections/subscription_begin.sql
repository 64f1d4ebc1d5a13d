create or replace function eventstore.subscription_begin(p_subscription text, p_shard integer)
returns table (log_id text, checkpoint bigint)
language plpgsql
as $$
begin
    insert into eventstore.subscriptions (name, shard)
    values (p_subscription, p_shard)
    on conflict do nothing;
    return query
    select i.log_id::text, s.checkpoint
    from eventstore.log_info i
    join eventstore.subscriptions s on s.name = p_subscription and s.shard = p_shard;
end
$$;
comment on function eventstore.subscription_begin is
    'The log and the checkpoint from which a subscription continues; 0, if it is new.';
