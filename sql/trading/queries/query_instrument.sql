create or replace function trading.query_instrument(p_shard integer, p_account text, p_symbol text)
returns table (is_account_known boolean, "position" bigint, document json)
language plpgsql
stable
as $$
begin
    return query
    select
        trading.is_account_known(p_shard, p_account),
        eventstore.checkpoint(p_shard, 'settings'),
        (
            select trading.instrument_json(i)
            from read.instruments i
            where i.account = p_account and i.symbol = p_symbol
        );
end
$$;
comment on function trading.query_instrument is 'One instrument; the document is null while the read table does not have it.';
