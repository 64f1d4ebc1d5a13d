create or replace function audit.ledger_as_of(p_account text, p_log_position bigint)
returns table (ledger_account text, currency text, balance numeric)
language plpgsql
stable
-- The log's index finds the account's executions, and their log positions find the entries, which need no other index.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
    return query
    select
        b.ledger_account,
        e.currency,
        sum(b.amount)
    from trading.log l
    join read.ledger_entries e on e.shard = l.shard and e.log_position = l.position
    cross join lateral (
        values ('position', e.position), ('cash', e.cash), ('exchange', e.exchange), ('fees', e.fees)
    ) b (ledger_account, amount)
    where l.shard = eventstore.shard_of(p_account)
        and l.aggregate_id = p_account
        and l.position <= p_log_position
        and l.type in ('OrderFilled', 'FillBusted', 'FillCorrected')
    group by b.ledger_account, e.currency
    having sum(b.amount) <> 0
    order by b.ledger_account, e.currency;
end
$$;
comment on function audit.ledger_as_of is
    'The balances of an account after the event at p_log_position of its shard''s log: the sums of its entries up to there, except those that are zero.';
