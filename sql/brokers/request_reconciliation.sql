create or replace function brokers.request_reconciliation(p_account text)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_number bigint;
begin
    insert into brokers.reconciliations (account, requested, requested_at)
    values (p_account, 1, clock_timestamp())
    on conflict (account) do update set
        requested = brokers.reconciliations.requested + 1,
        requested_at = clock_timestamp()
    returning requested into v_number;
    perform eventstore.notify('foldbook_reconcile', p_account);
    return v_number;
end
$$;
comment on function brokers.request_reconciliation is
    'Asks the gateway to compare an account with its broker, and returns the number of the request.';
