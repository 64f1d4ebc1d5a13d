create or replace function trading.query_position_history(
    p_shard integer,
    p_account text,
    p_symbol text,
    p_after bigint,
    p_limit integer
)
returns table (is_account_known boolean, is_position_known boolean, "position" bigint, items json, next bigint)
language plpgsql
stable
-- Nobody asks for all of it: rows are read in the order of an index until the page is full.
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
        -- One more than asked for tells whether there is more.
        select e.*
        from read.position_entries e
        where e.account = p_account
            and e.symbol = p_symbol
            and e.position > p_after
        order by e.position
        limit p_limit + 1
    ),
    numbered as (
        select
            c.position,
            c as entry,
            l as event,
            row_number() over (order by c.position) as ordinal
        from candidate c
        join eventstore.log l on l.shard = c.shard and l.position = c.position
    )
    select
        trading.is_account_known(p_shard, p_account),
        exists (select from read.positions p where p.account = p_account and p.symbol = p_symbol),
        eventstore.checkpoint(p_shard, 'positions'),
        coalesce(
            json_agg(trading.position_entry_json(n.entry, n.event) order by n.ordinal)
                filter (where n.ordinal <= p_limit),
            '[]'
        ),
        case when count(*) > p_limit then max(n.position) filter (where n.ordinal = p_limit) end
    from numbered n;
end
$$;
comment on function trading.query_position_history is
    'A page of the executions that made a position, with the position after each; next is the position after which the next page begins.';
