create or replace function trading.query_strategy_start(p_shard integer, p_account text, p_strategy_id text)
returns table (ledger_position bigint, cash json, orders_position bigint, last_number bigint)
language plpgsql
stable
-- Rows are found by their keys, however large the tables are.
set enable_seqscan = off
as $$
begin
    return query
    select
        eventstore.checkpoint(p_shard, 'ledger'),
        (
            select coalesce(json_object_agg(b.currency, eventstore.plain(b.cash)), '{}')
            from read.ledger_balances b
            where b.account = p_account
        ),
        eventstore.checkpoint(p_shard, 'orders'),
        (
            -- The case makes sure that only digits are cast.
            select coalesce(
                max(case when n.number ~ '^[0-9]{1,18}$' then n.number::bigint else 0 end),
                0
            )
            from read.orders o
            cross join lateral (select substr(o.order_id, length(p_strategy_id) + 2) as number) n
            where o.account = p_account
                and o.strategy_id = p_strategy_id
                and starts_with(o.order_id, p_strategy_id || '-')
        );
end
$$;
comment on function trading.query_strategy_start is
    'What a strategy begins with: the cash of its account by currency, as of one position of the log, and the highest number of its orders, <strategy>-<number>, as of another.';
