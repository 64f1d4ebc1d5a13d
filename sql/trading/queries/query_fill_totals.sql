-- An absent group is '' here; a currency that is not known is '-', which is no currency's name, so that no total has the key
-- before the first page.
create or replace function trading.query_fill_totals(
    p_shard integer,
    p_account text,
    p_strategy_id text,
    p_symbol text,
    p_accounts text[],
    p_is_by_strategy boolean,
    p_is_by_symbol boolean,
    p_after_strategy_id text,
    p_after_symbol text,
    p_after_currency text,
    p_limit integer
)
returns table ("position" bigint, document json)
language plpgsql
stable
-- An absent filter vanishes from a custom plan, so that the remaining ones find their index.
set plan_cache_mode = force_custom_plan
as $$
begin
    return query
    with total_by_fee_currency as (
        select
            case when p_is_by_strategy then coalesce(f.strategy_id, '') else '' end as strategy_id,
            case when p_is_by_symbol then f.symbol else '' end as symbol,
            coalesce(f.currency, '-') as currency,
            f.fee_currency,
            count(*) as fill_count,
            coalesce(sum(f.last_qty) filter (where f.side = 'BUY'), 0) as bought_qty,
            coalesce(sum(f.money) filter (where f.side = 'BUY'), 0) as bought_cost,
            coalesce(sum(f.last_qty) filter (where f.side = 'SELL'), 0) as sold_qty,
            coalesce(sum(f.money) filter (where f.side = 'SELL'), 0) as sold_cost,
            sum(f.fee) as fee
        from read.fills f
        where not f.is_busted
            and (p_account is null or f.account = p_account)
            and (p_strategy_id is null or f.strategy_id = p_strategy_id)
            and (p_symbol is null or f.symbol = p_symbol)
            and (p_accounts is null or eventstore.matches(f.account, p_accounts))
        group by 1, 2, 3, 4
    ),
    candidate as (
        select
            t.strategy_id,
            t.symbol,
            t.currency,
            sum(t.fill_count) as fill_count,
            sum(t.bought_qty) as bought_qty,
            sum(t.bought_cost) as bought_cost,
            sum(t.sold_qty) as sold_qty,
            sum(t.sold_cost) as sold_cost,
            coalesce(
                json_object_agg(t.fee_currency, eventstore.plain(t.fee) order by t.fee_currency)
                    filter (where t.fee_currency is not null),
                '{}'
            ) as fees
        from total_by_fee_currency t
        where (t.strategy_id, t.symbol, t.currency) > (p_after_strategy_id, p_after_symbol, p_after_currency)
        group by t.strategy_id, t.symbol, t.currency
        order by t.strategy_id, t.symbol, t.currency
        limit p_limit + 1
    )
    select
        eventstore.checkpoint(p_shard, 'fills'),
        eventstore.page(
            'totals',
            array_agg(
                json_build_object(
                    'strategy_id', nullif(c.strategy_id, ''),
                    'symbol', nullif(c.symbol, ''),
                    'currency', nullif(c.currency, '-'),
                    'fill_count', c.fill_count,
                    'bought_qty', eventstore.plain(c.bought_qty),
                    'bought_cost', eventstore.plain(c.bought_cost),
                    'sold_qty', eventstore.plain(c.sold_qty),
                    'sold_cost', eventstore.plain(c.sold_cost),
                    'fees', c.fees
                )
                order by c.strategy_id, c.symbol, c.currency
            ),
            -- The symbol comes last: it may have a slash in it.
            array_agg(
                c.currency || '/' || c.strategy_id || '/' || c.symbol order by c.strategy_id, c.symbol, c.currency
            ),
            p_limit
        )
    from candidate c;
end
$$;
comment on function trading.query_fill_totals is
    'The totals of fills that were not busted, by settlement currency and by strategy, symbol or both; fills without an order of ours have no strategy. next is currency/strategy/symbol, with - for a currency that is not known; empty texts are before the first.';
