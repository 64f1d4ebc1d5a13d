create or replace function trading.query_lots(
    p_shard integer,
    p_account text,
    p_symbol text,
    p_is_open boolean,
    p_after_symbol text,
    p_after_position bigint,
    p_after_leg integer,
    p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
-- An absent filter vanishes from a custom plan, so that the remaining ones find their index.
set plan_cache_mode = force_custom_plan
-- Rows are read in the order of an index, until the page is full.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    return query
    with of_symbol as (
        select
            t.symbol,
            -- Lots are closed in the order in which they were opened: up to here they are closed, from here on open.
            t.opened_quantity - abs(t.quantity) as closed_to,
            case
                when t.symbol = p_after_symbol then (
                    select l.opened_to
                    from read.lots l
                    where l.account = p_account
                        and l.symbol = p_after_symbol
                        and (l.opened_position, l.opened_leg) <= (p_after_position, p_after_leg)
                    order by l.opened_position desc, l.opened_leg desc
                    limit 1
                )
            end as after
        from read.lot_positions t
        where t.account = p_account
            and t.symbol >= p_after_symbol
            and (p_symbol is null or t.symbol = p_symbol)
    ),
    candidate as materialized (
        -- One more than asked for, to see whether there is a next page.
        select l.*
        from of_symbol s
        cross join lateral (
            select *
            from read.lots l
            where l.account = p_account collate "C"
                and l.symbol = s.symbol collate "C"
                and l.opened_to > greatest(s.after, case when p_is_open then s.closed_to else 0 end)
                and (p_is_open is distinct from false or l.opened_to <= s.closed_to)
            order by l.opened_to
            limit p_limit + 1
        ) l
        order by s.symbol, l.opened_to
        limit p_limit + 1
    )
    select
        eventstore.checkpoint(p_shard, 'lots'),
        case
            when trading.is_account_known(p_shard, p_account)
                then eventstore.page(
                    'lots',
                    array_agg(trading.lot_json(c) order by c.symbol, c.opened_to),
                    array_agg(
                        c.symbol || '|' || c.opened_position || '|' || c.opened_leg order by c.symbol, c.opened_to
                    ),
                    p_limit
                )
        end
    from candidate c;
end
$$;
comment on function trading.query_lots is
    'A page of the lots of an account by symbol, the oldest first; next is symbol|position|leg. The document is null if the account is unknown.';
