create or replace function eventstore.projection_skip(
    p_projection text, p_shard integer, p_position bigint, p_reason text, p_actor text
)
returns void
language plpgsql
as $$
declare
    v_subscription eventstore.subscriptions;
begin
    select s.*
    into v_subscription
    from eventstore.subscriptions s
    where s.shard = p_shard
        and s.name = p_projection
    for no key update; -- Waits until a round under way has ended.
    -- What a range of several events was too much for is the fault of none of them.
    if (v_subscription.error ->> 'position')::bigint is distinct from p_position
        or (v_subscription.error ->> 'events')::bigint > 1
    then
        raise exception 'projection % is not stopped at position % of shard %', p_projection, p_position, p_shard
            using
                errcode = 'FB012',
                detail = coalesce(
                    case
                        when (v_subscription.error ->> 'events')::bigint > 1 then
                            'A round of several events took too long; the next one takes fewer.'
                        else 'It is stopped at position ' || (v_subscription.error ->> 'position') || '.'
                    end,
                    'It is not stopped.'
                );
    end if;
    insert into eventstore.dead_letters (shard, subscription, definition_hash, position, error, reason, actor)
    values (
        p_shard, p_projection, v_subscription.definition_hash, p_position, v_subscription.error, p_reason, p_actor
    );
    perform eventstore.subscription_move(p_projection, p_shard, p_position);
end
$$;
comment on function eventstore.projection_skip is
    'Lets a projection continue after the event that it is stopped at, and records who decided this, and why.';
