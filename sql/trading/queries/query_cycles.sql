create or replace function trading.query_cycles(
    p_shard integer, p_account text, p_symbol text, p_after bigint, p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
as $$
begin
    return query
    with candidate as (
        -- One more than asked for, to see whether there is a next page.
        select c.*
        from audit.position_cycles(p_account, p_symbol) c
        where c.cycle > p_after
        order by c.cycle
        limit p_limit + 1
    )
    select
        (eventstore.head(p_shard)).last_position,
        case
            when trading.is_account_known(p_shard, p_account)
                then eventstore.page(
                    'cycles',
                    array_agg(
                        json_build_object(
                            'cycle', c.cycle,
                            'side', c.side,
                            'opened_position', c.opened_log_position,
                            'opened_at', eventstore.rfc3339(c.opened_at),
                            'closed_position', c.closed_log_position,
                            'closed_at', eventstore.rfc3339(c.closed_at),
                            'fill_count', c.fills,
                            'realized_pnl', eventstore.plain(c.realized_pnl),
                            'fees', c.fees
                        )
                        order by c.cycle
                    ),
                    array_agg(c.cycle order by c.cycle),
                    p_limit
                )
        end
    from candidate c;
end
$$;
comment on function trading.query_cycles is
    'A page of the cycles of a position, from flat to flat, folded from the log itself; next is a cycle. The document is null if the account is unknown.';
