create or replace function trading.query_position(p_shard integer, p_account text, p_symbol text, p_as_of bigint)
returns table (is_account_known boolean, "position" bigint, document json)
language plpgsql
stable
as $$
begin
    return query
    select
        trading.is_account_known(p_shard, p_account),
        -- The last price is another projection's.
        coalesce(
            p_as_of, least(eventstore.checkpoint(p_shard, 'positions'), eventstore.checkpoint(p_shard, 'settings'))
        ),
        (select trading.position_json(p, p.last_price) from trading.positions_as_of(p_account, p_symbol, p_as_of, '', 1) p);
end
$$;
comment on function trading.query_position is
    'The position in one symbol, now or as of a position of the log; the document is null if there was none.';
