-- An exchange that lists trades by symbol is asked for those of the symbols that orders were sent in. The cursor of an account's
-- fills has every symbol that was asked for before. It lacks those of which the first order was sent after the last question,
-- by a gateway that has ended: some seconds before its end. So the account's latest events are enough.
create or replace function brokers.symbols_of(p_account text, p_search_max integer default 10000)
returns text[]
language sql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
    select coalesce(array_agg(distinct e.payload ->> 'symbol'), '{}')
    from (
        select l.type, l.payload
        from eventstore.events l
        where l.shard = eventstore.shard_of(p_account)
            and l.aggregate_id = p_account
            and l.aggregate_type = 'order_book'
        order by l.sequence desc
        limit p_search_max
    ) e
    where e.type = 'OrderSubmitted';
$$;
comment on function brokers.symbols_of is
    'The symbols in which orders were sent to the broker, as far as the account''s latest events tell.';
