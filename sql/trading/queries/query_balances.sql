create or replace function trading.query_balances(
    p_shard integer, p_account text, p_after_currency text, p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
-- Rows are read in the order of an index, until the page is full.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for, to see whether there is a next page.
        select b.*
        from read.ledger_balances b
        where b.account = p_account
            and b.currency > p_after_currency
        order by b.currency
        limit p_limit + 1
    )
    select
        eventstore.checkpoint(p_shard, 'ledger'),
        case
            when trading.is_account_known(p_shard, p_account)
                then eventstore.page(
                    'balances',
                    array_agg(trading.balance_json(c) order by c.currency),
                    array_agg(c.currency order by c.currency),
                    p_limit
                )
        end
    from candidate c;
end
$$;
comment on function trading.query_balances is
    'A page of the balances of an account by currency; next is a currency. The document is null if the account is unknown.';
