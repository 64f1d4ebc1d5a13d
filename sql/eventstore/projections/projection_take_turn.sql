create or replace function eventstore.projection_take_turn(p_projection text)
returns boolean
language plpgsql
as $$
begin
    if current_setting('transaction_timeout', true) is not null then -- PostgreSQL 17 and later
        perform set_config('transaction_timeout', '0', true);
    end if;
    execute format(
        'lock table %I.turn in exclusive mode nowait', eventstore.projection_schema('input', p_projection)
    );
    return true;
exception when lock_not_available then
    return false;
end
$$;
comment on function eventstore.projection_take_turn(text) is
    'Takes the turn of a projection, until the transaction ends: one reset, rebuild or verification at a time. False: another one is running.';
