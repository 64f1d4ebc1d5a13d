create or replace function eventstore.subscription_move(
    p_subscription text, p_shard integer, p_checkpoint bigint, p_error jsonb default null
)
returns void
language plpgsql
as $$
begin
    update eventstore.subscriptions s
    set
        checkpoint = p_checkpoint,
        error = p_error,
        updated_at = clock_timestamp()
    where s.shard = p_shard
        and s.name = p_subscription
        and s.checkpoint <= p_checkpoint;
    if not found then
        raise exception 'subscription % cannot move to position % of shard %', p_subscription, p_checkpoint, p_shard
            using
                errcode = 'FB020',
                detail = coalesce(
                    (
                        select format('It is at position %s.', s.checkpoint)
                        from eventstore.subscriptions s
                        where s.shard = p_shard
                            and s.name = p_subscription
                    ),
                    'It has not begun.'
                );
    end if;
    perform eventstore.notify('foldbook_checkpoint', concat_ws(':', p_subscription, p_shard, p_checkpoint));
end
$$;
comment on function eventstore.subscription_move(text, integer, bigint, jsonb) is
    'Moves a checkpoint forward, in the transaction of the work that it covers, and notifies waiting readers. FB020: it would move back, or there is none.';
