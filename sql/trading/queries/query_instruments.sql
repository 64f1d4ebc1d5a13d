create or replace function trading.query_instruments(
    p_shard integer, p_account text, p_after_symbol text, p_limit integer
)
returns table (is_account_known boolean, "position" bigint, items json, next text)
language plpgsql
stable
-- Nobody asks for all of it: rows are read in the order of the key until the page is full.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for tells whether there is more.
        select i.*
        from read.instruments i
        where i.account = p_account
            and i.symbol > p_after_symbol
        order by i.symbol
        limit p_limit + 1
    ),
    numbered as (
        select c as instrument, row_number() over (order by c.symbol) as ordinal
        from candidate c
    )
    select
        trading.is_account_known(p_shard, p_account),
        eventstore.checkpoint(p_shard, 'settings'),
        coalesce(
            json_agg(trading.instrument_json(n.instrument) order by n.ordinal) filter (where n.ordinal <= p_limit),
            '[]'
        ),
        case when count(*) > p_limit then max((n.instrument).symbol) filter (where n.ordinal = p_limit) end
    from numbered n;
end
$$;
comment on function trading.query_instruments is
    'A page of the instruments of an account, by symbol; next is the symbol after which the next page begins.';
