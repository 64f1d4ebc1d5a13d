create or replace function eventstore.projection_failure(
    p_earlier jsonb, p_position bigint, p_sqlstate text, p_message text
)
returns jsonb
language sql
volatile
return jsonb_build_object('position', p_position, 'sqlstate', p_sqlstate, 'message', p_message)
    || case
        when (p_earlier ->> 'position')::bigint = p_position then
            jsonb_build_object('attempts', (p_earlier ->> 'attempts')::integer + 1, 'since', p_earlier -> 'since')
        else jsonb_build_object('attempts', 1, 'since', clock_timestamp())
    end;
comment on function eventstore.projection_failure(jsonb, bigint, text, text) is
    'The error to record for a projection that stopped at an event. The attempts continue those of the earlier error if it names the same event.';
