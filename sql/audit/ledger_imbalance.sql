create or replace function audit.ledger_imbalance()
returns table (shard integer, "position" bigint, currency text, imbalance numeric, problem text)
language plpgsql
stable
as $$
#variable_conflict use_column
begin
    return query
    select
        e.shard,
        e.position,
        e.currency,
        sum(e.amount),
        'unbalanced'
    from read.ledger_entries e
    group by e.shard, e.position, e.currency
    having sum(e.amount) <> 0
    union all
    select
        coalesce(x.shard, e.shard),
        coalesce(x.position, e.position),
        null,
        null,
        case when e.position is null then 'missing' else 'stray' end
    from (
        select l.shard, l.position
        from eventstore.subscriptions s
        join eventstore.log l on l.shard = s.shard and l.position <= s.checkpoint
        where s.name = 'ledger'
            and l.type in ('OrderFilled', 'FillBusted', 'FillCorrected')
    ) x
    full join (
        select distinct e.shard, e.position
        from read.ledger_entries e
    ) e on e.shard = x.shard and e.position = x.position
    where e.position is null
        or x.position is null
    order by 1, 2, 3;
end
$$;
comment on function audit.ledger_imbalance is
    'Where the ledger is wrong, over all of it: entries of a position in the log that do not sum to zero in a currency (unbalanced), an execution without entries (missing), entries of no execution (stray). No row: every execution has entries, and at every position of the log the ledger sums to zero in every currency.';
