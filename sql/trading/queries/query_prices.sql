create or replace function trading.query_prices(
    p_shard integer, p_account text, p_after_symbol text, p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
-- Rows are read in the order of the key, until the page is full.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for, to see whether there is a next page.
        select p.*
        from read.prices p
        where p.account = p_account
            and p.symbol > p_after_symbol
        order by p.symbol
        limit p_limit + 1
    )
    select
        eventstore.checkpoint(p_shard, 'settings'),
        case
            when trading.is_account_known(p_shard, p_account)
                then eventstore.page(
                    'prices',
                    array_agg(
                        json_build_object(
                            'symbol', c.symbol,
                            'price', eventstore.plain(c.price),
                            'occurred_at', eventstore.rfc3339(c.occurred_at),
                            'counted_at', eventstore.rfc3339(c.counted_at),
                            'recorded_at', eventstore.rfc3339(c.recorded_at),
                            'last_position', c.position
                        )
                        order by c.symbol
                    ),
                    array_agg(c.symbol order by c.symbol),
                    p_limit
                )
        end
    from candidate c;
end
$$;
comment on function trading.query_prices is
    'A page of the last prices that an account recorded, by symbol; next is a symbol. The document is null if the account is unknown.';
