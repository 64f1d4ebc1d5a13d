create or replace function trading.query_positions_at(
    p_shard integer, p_account text, p_symbol text, p_time timestamptz, p_after_symbol text, p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
as $$
begin
    return query
    select
        (eventstore.head(p_shard)).last_position,
        case
            when trading.is_account_known(p_shard, p_account)
                then eventstore.page(
                    'positions',
                    array_agg(trading.position_json(p, null) order by p.symbol),
                    array_agg(p.symbol order by p.symbol),
                    p_limit
                )
        end
    -- One more than asked for, to see whether there is a next page.
    from trading.positions_at(p_shard, p_account, p_symbol, p_time, p_after_symbol, p_limit + 1) p;
end
$$;
comment on function trading.query_positions_at is
    'A page of the positions of an account by symbol, at a business time, by what is known now; next is a symbol. The document is null if the account is unknown.';
