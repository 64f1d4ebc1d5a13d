-- Asked about an id that nobody remembers: a late report's, or that of somebody else's order. The id is a function of the
-- order's (brokers/port.py): readable, and then the order has it in its own events; or a hash, of which nothing but a search
-- says what it is of. The search goes back from the latest event, and not without end.
create or replace function brokers.order_of_client_id(
    p_account text,
    p_client_order_id text,
    p_search_max integer default 100000
)
returns text
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    v_order_id text := substring(p_client_order_id from '^(.+):[0-9]+$');
begin
    if v_order_id is not null then
        return (
            select e.subject
            from eventstore.events e
            where e.shard = eventstore.shard_of(p_account)
                and e.subject = v_order_id
                and e.aggregate_id = p_account
                and e.aggregate_type = 'order_book'
                and e.type in ('OrderSubmitted', 'OrderReplaceSubmitted')
                and e.payload ->> 'client_order_id' = p_client_order_id
            limit 1
        );
    end if;
    if p_client_order_id !~ '^[0-9a-z]{1,26}$' then
        return null;
    end if;
    return (
        select e.subject
        from (
            select l.subject, l.type, l.payload
            from eventstore.events l
            where l.shard = eventstore.shard_of(p_account)
                and l.aggregate_id = p_account
                and l.aggregate_type = 'order_book'
            order by l.sequence desc
            limit p_search_max
        ) e
        where e.type in ('OrderSubmitted', 'OrderReplaceSubmitted')
            and e.payload ->> 'client_order_id' = p_client_order_id
        limit 1
    );
end
$$;
comment on function brokers.order_of_client_id is
    'The order that was sent to the broker under a client order id; null: none, or none in so many of the account''s latest events.';
