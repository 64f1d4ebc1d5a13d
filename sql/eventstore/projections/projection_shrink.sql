-- Called when a round took too long, or needed more than the server had.
create or replace function eventstore.projection_shrink(
    p_projection text, p_shard integer, p_limit bigint, p_sqlstate text, p_message text
)
returns bigint
language plpgsql
as $$
declare
    v_done bigint;
    v_earlier jsonb;
    v_events bigint;
begin
    select s.checkpoint, s.error
    into v_done, v_earlier
    from eventstore.subscriptions s
    where s.shard = p_shard
        and s.name = p_projection
    for no key update skip locked;
    if not found then
        return greatest(p_limit / 2, 1); -- Another process is doing a round.
    end if;
    v_events := least(p_limit, (eventstore.head(p_shard)).last_position - v_done);
    if v_events > 0 then
        perform eventstore.subscription_move(
            p_projection, p_shard, v_done,
            eventstore.projection_failure(v_earlier, v_done + 1, p_sqlstate, p_message)
                || jsonb_build_object('events', v_events)
        );
    end if;
    return greatest(v_events / 2, 1);
end
$$;
comment on function eventstore.projection_shrink(text, integer, bigint, text, text) is
    'How many events the next round may take: half as many as the last one. Records why, with the first position and the number of events.';
