create or replace function trading.order_status(p_working_state text, p_pending_request text)
returns text
language sql
immutable parallel safe
return case p_pending_request
    when 'CANCEL' then 'PENDING_CANCEL'
    when 'REPLACE' then 'PENDING_REPLACE'
    else p_working_state
end;
comment on function trading.order_status is
    'The one OrdStatus that FIX reports for the two axes of an order: what is pending takes precedence.';
