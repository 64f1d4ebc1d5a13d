create or replace function brokers.query_reconciliation(p_account text)
returns table (requested bigint, done bigint, result json)
language sql
stable
as $$
    select r.requested, r.done, r.result::json
    from brokers.reconciliations r
    where r.account = p_account;
$$;
comment on function brokers.query_reconciliation is 'The latest request to compare an account with its broker, and the latest result.';
