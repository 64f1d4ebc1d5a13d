create or replace aggregate audit.outstanding_requests(p_type text, p_payload jsonb) (
    sfunc = audit.fold_request,
    stype = jsonb,
    initcond = '[]',
    parallel = safe
);
comment on aggregate audit.outstanding_requests(text, jsonb) is
    'The requests about an order that the broker has not answered, oldest first, from the order''s events in the given order.';
