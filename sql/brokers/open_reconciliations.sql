create or replace function brokers.open_reconciliations(p_broker text)
returns table (account text, requested bigint)
language sql
stable
as $$
    select r.account, r.requested
    from brokers.reconciliations r
    where r.done < r.requested
        and split_part(r.account, '/', 3) = p_broker
    order by r.requested_at
    limit 1000;
$$;
comment on function brokers.open_reconciliations is 'The accounts that are to be compared with their broker.';
