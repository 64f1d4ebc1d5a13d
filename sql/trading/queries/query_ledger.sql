create or replace function trading.query_ledger(
    p_shard integer,
    p_account text,
    p_currency text,
    p_after_position bigint,
    p_after_entry integer,
    p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
-- An absent filter vanishes from a custom plan.
set plan_cache_mode = force_custom_plan
-- Rows are read in the order of an index, until the page is full.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for, to see whether there is a next page.
        select e.*
        from read.ledger_entries e
        where e.account = p_account
            and (p_currency is null or e.currency = p_currency)
            and (e.log_position, e.entry) > (p_after_position, p_after_entry)
        order by e.log_position, e.entry
        limit p_limit + 1
    )
    select
        eventstore.checkpoint(p_shard, 'ledger'),
        case
            when trading.is_account_known(p_shard, p_account)
                then eventstore.page(
                    'entries',
                    array_agg(trading.ledger_entry_json(c, l) order by c.log_position, c.entry),
                    array_agg(c.log_position || ':' || c.entry order by c.log_position, c.entry),
                    p_limit
                )
        end
    from candidate c
    join eventstore.log l on l.shard = c.shard and l.position = c.log_position;
end
$$;
comment on function trading.query_ledger is
    'A page of the entries of an account in the order of the log; next is position:entry. The document is null if the account is unknown.';
