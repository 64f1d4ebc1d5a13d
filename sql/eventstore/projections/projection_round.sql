create or replace function eventstore.projection_round(
    p_copy text, p_projection text, p_shard integer, p_limit bigint, p_target bigint default null,
    p_run bigint default null
)
returns table (from_position bigint, to_position bigint, head bigint)
language plpgsql
as $$
declare
    v_subscription text := eventstore.projection_subscription(p_copy, p_projection);
    v_from bigint;
    v_to bigint;
    v_head bigint := least((eventstore.head(p_shard)).last_position, p_target);
begin
    -- First a look without a lock, so that a round with nothing to do writes nothing.
    select s.checkpoint
    into v_from
    from eventstore.subscriptions s
    where s.shard = p_shard
        and s.name = v_subscription;
    if not found then
        raise exception 'projection % is not installed', p_projection
            using errcode = 'FB011';
    end if;
    if v_from >= v_head then
        return query select v_from, v_from, v_head;
        return;
    end if;

    select s.checkpoint
    into v_from
    from eventstore.subscriptions s
    where s.shard = p_shard
        and s.name = v_subscription
    for no key update skip locked;
    if not found then
        return; -- Another process is doing a round.
    end if;
    v_to := v_from + least(p_limit, v_head - v_from);
    if v_to > v_from then
        perform eventstore.projection_apply(p_copy, p_projection, p_shard, v_from, v_to, p_run);
        perform eventstore.subscription_move(v_subscription, p_shard, v_to);
    end if;
    return query select v_from, greatest(v_from, v_to), v_head;
end
$$;
comment on function eventstore.projection_round(text, text, integer, bigint, bigint, bigint) is
    'One round of a projection: folds at most p_limit events, up to the head or p_target, and moves the checkpoint. No row: another process is doing a round.';
