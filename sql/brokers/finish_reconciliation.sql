create or replace function brokers.finish_reconciliation(p_account text, p_number bigint, p_result jsonb)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    update brokers.reconciliations r
    set
        done = p_number,
        done_at = clock_timestamp(),
        result = p_result
    where r.account = p_account
        and r.done < p_number;
$$;
comment on function brokers.finish_reconciliation is 'Answers the requests up to a number.';
