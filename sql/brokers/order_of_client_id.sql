-- Reads the account's whole log: it is asked only about an id that nobody remembers.
create or replace function brokers.order_of_client_id(p_account text, p_client_order_id text)
returns text
language sql
stable
set enable_seqscan = off
as $$
    select e.subject
    from eventstore.events e
    where e.shard = eventstore.shard_of(p_account)
        and e.aggregate_id = p_account
        and e.aggregate_type = 'order_book'
        and e.type in ('OrderSubmitted', 'OrderReplaceSubmitted')
        and e.payload ->> 'client_order_id' = p_client_order_id
    limit 1;
$$;
comment on function brokers.order_of_client_id is 'The order that was sent to the broker under a client order id.';
