create or replace function audit.ledger_imbalance()
returns table (shard integer, log_position bigint, currency text, imbalance numeric, problem text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select
        e.shard,
        e.log_position,
        e.currency,
        sum(e.position + e.cash + e.exchange + e.fees + e.capital + e.income),
        'unbalanced'
    from read.ledger_entries e
    group by e.shard, e.log_position, e.currency
    having sum(e.position + e.cash + e.exchange + e.fees + e.capital + e.income) <> 0
    union all
    -- Entries that are removed or added as a whole still sum to zero; the balances show the difference.
    select
        coalesce(b.shard, e.shard),
        null,
        coalesce(b.currency, e.currency),
        coalesce(b.position, 0) - coalesce(e.position, 0) + coalesce(b.cash, 0) - coalesce(e.cash, 0),
        'balance'
    from read.ledger_balances b
    full join (
        select
            e.shard, e.account, e.currency, sum(e.position) as position, sum(e.cash) as cash,
            sum(e.exchange) as exchange, sum(e.fees) as fees, sum(e.capital) as capital, sum(e.income) as income
        from read.ledger_entries e
        group by e.shard, e.account, e.currency
    ) e on e.shard = b.shard and e.account = b.account and e.currency = b.currency
    where (b.position, b.cash, b.exchange, b.fees, b.capital, b.income)
        is distinct from (e.position, e.cash, e.exchange, e.fees, e.capital, e.income)
    union all
    select
        coalesce(x.shard, e.shard),
        coalesce(x.position, e.position),
        null,
        null,
        case when e.position is null then 'missing' else 'stray' end
    from (
        select
            l.shard,
            l.position,
            -- It books over what there is, which may be nothing.
            l.type = 'InstrumentDefined' as may_be_empty
        from eventstore.subscriptions s
        join trading.log l on l.shard = s.shard and l.position <= s.checkpoint
        where s.name = 'ledger'
            and (
                l.type in (
                    'OrderFilled', 'FillBusted', 'FillCorrected', 'ExecutionBooked', 'ExecutionBusted',
                    'ExecutionCorrected', 'AccountAdjusted'
                )
                or l.type = 'InstrumentDefined' and l.payload ? 'put_right'
            )
    ) x
    full join (
        select distinct e.shard, e.log_position as position
        from read.ledger_entries e
    ) e on e.shard = x.shard and e.position = x.position
    where e.position is null and not x.may_be_empty
        or x.position is null
    order by 1, 2, 3;
end
$$;
comment on function audit.ledger_imbalance is
    'Where the ledger does not add up: entries of a log position that do not sum to zero in a currency (unbalanced), an execution or adjustment without entries (missing), entries of nothing that the ledger knows (stray), a balance that is not the sum of its entries (balance, with the excess). No row: every execution and adjustment has entries, and at every position of the log the ledger sums to zero in every currency.';
