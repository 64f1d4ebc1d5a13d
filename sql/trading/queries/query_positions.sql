create or replace function trading.query_positions(
    p_shard integer, p_account text, p_as_of bigint, p_after_symbol text, p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
as $$
begin
    return query
    select
        -- The last price is another projection's.
        coalesce(
            p_as_of, least(eventstore.checkpoint(p_shard, 'positions'), eventstore.checkpoint(p_shard, 'settings'))
        ),
        case
            when trading.is_account_known(p_shard, p_account)
                then eventstore.page(
                    'positions',
                    array_agg(trading.position_json(p, p.last_price) order by p.symbol),
                    array_agg(p.symbol order by p.symbol),
                    p_limit
                )
        end
    -- One more than asked for, to see whether there is a next page.
    from trading.positions_as_of(p_account, null, p_as_of, p_after_symbol, p_limit + 1) p;
end
$$;
comment on function trading.query_positions is
    'A page of the positions of an account by symbol, now or as of a position of the log; next is a symbol. The document is null if the account is unknown.';
