-- Called when a round has failed. Halves the range until only the failing event is left, and folds the events before it.
create or replace function eventstore.projection_narrow(p_projection text, p_shard integer, p_limit bigint)
returns jsonb
language plpgsql
as $$
declare
    v_done bigint;
    v_end bigint;
    v_try bigint;
    v_earlier jsonb;
    v_error jsonb;
    v_sqlstate text;
    v_message text;
begin
    select s.checkpoint, s.error
    into v_done, v_earlier
    from eventstore.subscriptions s
    where s.shard = p_shard
        and s.name = p_projection
    for no key update;
    v_end := least(v_done + p_limit, (eventstore.head(p_shard)).last_position);
    v_try := v_end;

    while v_done < v_end loop
        begin
            perform eventstore.projection_apply('live', p_projection, p_shard, v_done, v_try);
            v_done := v_try;
        exception when others then
            get stacked diagnostics v_sqlstate = returned_sqlstate, v_message = message_text;
            if eventstore.is_passing(v_sqlstate) then
                raise; -- No event is to blame.
            end if;
            v_end := v_try;
            exit when v_end = v_done + 1;
        end;
        v_try := v_done + greatest((v_end - v_done) / 2, 1);
    end loop;

    if v_done < v_end then
        v_error := eventstore.projection_failure(v_earlier, v_end, v_sqlstate, v_message);
    end if;
    perform eventstore.subscription_move(p_projection, p_shard, v_done, v_error);
    return v_error;
end
$$;
comment on function eventstore.projection_narrow(text, integer, bigint) is
    'Finds the event that a projection fails on, folds the events before it, and records the error. Null: none failed.';
