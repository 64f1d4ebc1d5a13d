-- The events of the accounts of one kind of broker. Positions are gapless, so a range is bounded by its length.
create or replace function brokers.read_accounts(p_shard integer, p_broker text, p_after bigint, p_to bigint)
returns table (
    account text, sequence bigint, type text, schema_version smallint, command_id uuid, occurred_at timestamptz,
    payload jsonb
)
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return query
    select l.aggregate_id, l.sequence, l.type, l.schema_version, l.command_id, l.occurred_at, l.payload
    from eventstore.log l
    where l.shard = p_shard
        and l.position > p_after
        and l.position <= p_to
        and l.aggregate_type = 'order_book'
        and split_part(l.aggregate_id, '/', 3) = p_broker
    order by l.position;
end
$$;
comment on function brokers.read_accounts is
    'The events of a range of positions that are about accounts of one kind of broker, in order.';
