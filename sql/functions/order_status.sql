create or replace function eventstore.order_status(p_working_state text, p_pending_request text)
returns text
language sql
immutable parallel safe
return case
    when p_pending_request = 'CANCEL' and p_working_state in ('CREATED', 'NEW', 'PARTIALLY_FILLED') then 'PENDING_CANCEL'
    else p_working_state
end;
comment on function eventstore.order_status is
    'The one OrdStatus that FIX reports for the two axes of an order: what is pending takes precedence while it works.';
