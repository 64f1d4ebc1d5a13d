create or replace function audit.ledger_as_of(p_account text, p_log_position bigint)
returns table (ledger_account text, currency text, balance numeric)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    select
        b.ledger_account,
        e.currency,
        sum(b.amount)
    from read.ledger_entries e
    cross join lateral (
        values
            ('position', e.position), ('cash', e.cash), ('exchange', e.exchange), ('fees', e.fees),
            ('capital', e.capital), ('income', e.income)
    ) b (ledger_account, amount)
    where e.account = p_account
        and e.log_position <= p_log_position
    group by b.ledger_account, e.currency
    having sum(b.amount) <> 0
    order by b.ledger_account, e.currency;
end
$$;
comment on function audit.ledger_as_of is
    'The balances of an account after the event at p_log_position of its shard''s log: the sums of its entries up to there, except those that are zero.';
