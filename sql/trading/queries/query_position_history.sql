create or replace function trading.query_position_history(
    p_shard integer,
    p_account text,
    p_symbol text,
    p_after bigint,
    p_limit integer
)
returns table (is_account_known boolean, "position" bigint, document json)
language plpgsql
stable
-- Rows are read in the order of an index, until the page is full.
set plan_cache_mode = force_custom_plan
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
        from read.position_entries e
        where e.account = p_account
            and e.symbol = p_symbol
            and e.position > p_after
            -- A currency that became known changed the position's row, and not the position.
            and e.type <> 'InstrumentDefined'
        order by e.position
        limit p_limit + 1
    )
    select
        trading.is_account_known(p_shard, p_account),
        eventstore.checkpoint(p_shard, 'positions'),
        case
            when exists (select from read.positions p where p.account = p_account and p.symbol = p_symbol)
                then eventstore.page(
                    'executions',
                    array_agg(trading.position_entry_json(c, l) order by c.position),
                    array_agg(c.position order by c.position),
                    p_limit
                )
        end
    from candidate c
    join eventstore.log l on l.shard = c.shard and l.position = c.position;
end
$$;
comment on function trading.query_position_history is
    'A page of the executions and adjustments that made a position, with the position after each; next is a position of the log. The document is null while the read table does not have the position.';
