create or replace function trading.query_position_at(p_shard integer, p_account text, p_symbol text, p_time timestamptz)
returns table (is_account_known boolean, "position" bigint, document json)
language plpgsql
stable
as $$
begin
    return query
    select
        trading.is_account_known(p_shard, p_account),
        (eventstore.head(p_shard)).last_position,
        (
            select trading.position_json(p, null)
            from trading.positions_at(p_shard, p_account, p_symbol, p_time, '', 1) p
        );
end
$$;
comment on function trading.query_position_at is
    'The position in one symbol at a business time, by what is known now; the document is null if there was none.';
