-- The tables are read once for all symbols, as far as positions are not flat and orders open: who asks does so every few
-- seconds. An index by symbol would have to be kept with every fill, which costs more than that.
create or replace function trading.query_holders(
    p_symbols text[], p_live_exchange text, p_after_account text, p_after_symbol text, p_limit integer
)
returns table (account text, symbol text, price numeric)
language plpgsql
stable
as $$
begin
    return query
    with holder as (
        select
            p.account,
            p.symbol
        from read.positions p
        where p.symbol = any (p_symbols)
            and p.quantity <> 0
        union
        select
            o.account,
            o.symbol
        from read.orders o
        where o.is_open
            and o.symbol = any (p_symbols)
    )
    select
        h.account,
        h.symbol,
        l.price
    from holder h
    join read.order_books b on b.account = h.account
    left join read.prices l on l.account = h.account and l.symbol = h.symbol
    where (h.account, h.symbol) > (p_after_account, p_after_symbol)
        and (b.broker = 'simulated' or b.broker = 'live' and b.exchange = p_live_exchange)
    order by h.account, h.symbol
    limit p_limit;
end
$$;
comment on function trading.query_holders is
    'A page of the simulated accounts that hold a position or have an open order in one of the symbols, each with the last price that it recorded; with p_live_exchange, also of the live accounts at that exchange.';
