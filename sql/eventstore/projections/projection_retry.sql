-- The event was skipped for an earlier definition of the projection. If this definition can fold it, it does. If not, the
-- decision to skip it remains in force. An error of the server is no answer to that, and is raised: only one that may be
-- of the event, too (class XX, internal error), is an answer if the decision was about the same one.
create or replace function eventstore.projection_retry(
    p_copy text, p_projection text, p_shard integer, p_position bigint, p_project text
)
returns void
language plpgsql
as $$
declare
    v_decision eventstore.dead_letters;
    v_sqlstate text;
    v_message text;
begin
    execute p_project using p_shard, p_position - 1, p_position;
exception when others then
    get stacked diagnostics v_sqlstate = returned_sqlstate, v_message = message_text;
    select d.*
    into v_decision
    from eventstore.dead_letters d
    where d.shard = p_shard
        and d.subscription = p_projection
        and d.position = p_position
    order by d.recorded_at desc
    limit 1;
    if eventstore.is_passing(v_sqlstate)
        or (v_sqlstate like 'XX%' and v_sqlstate <> v_decision.error ->> 'sqlstate')
    then
        raise;
    end if;
    insert into eventstore.dead_letters (shard, subscription, definition_hash, position, error, reason, actor)
    select
        p_shard,
        p_projection,
        s.definition_hash,
        p_position,
        jsonb_build_object('position', p_position, 'sqlstate', v_sqlstate, 'message', v_message),
        v_decision.reason,
        v_decision.actor
    from eventstore.subscriptions s
    where s.shard = p_shard
        and s.name = eventstore.projection_subscription(p_copy, p_projection)
    on conflict do nothing;
end
$$;
comment on function eventstore.projection_retry is
    'Tries an event that an earlier definition of the projection could not fold. If this definition can''t either, the same decision skips the event again.';
