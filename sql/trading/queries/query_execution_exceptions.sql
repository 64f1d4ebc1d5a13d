create or replace function trading.query_execution_exceptions(
    p_shard integer, p_account text, p_after bigint, p_limit integer
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
        select x.*
        from read.execution_exceptions x
        where x.account = p_account
            and x.position > p_after
        order by x.position
        limit p_limit + 1
    )
    select
        eventstore.checkpoint(p_shard, 'fills'),
        case
            when trading.is_account_known(p_shard, p_account)
                then eventstore.page(
                    'exceptions',
                    array_agg(trading.execution_exception_json(c) order by c.position),
                    array_agg(c.position order by c.position),
                    p_limit
                )
        end
    from candidate c;
end
$$;
comment on function trading.query_execution_exceptions is
    'A page of the reports about an account for a person to look at: those that were not applied, or told a time that cannot be right; next is a position. The document is null if the account is unknown.';
