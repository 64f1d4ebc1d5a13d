create or replace function trading.query_execution_exceptions(
    p_shard integer, p_account text, p_after bigint, p_limit integer
)
returns table (is_account_known boolean, "position" bigint, items json, next bigint)
language plpgsql
stable
-- Nobody asks for all of it: rows are read in the order of an index until the page is full.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return query
    with candidate as materialized (
        -- One more than asked for tells whether there is more.
        select x.*
        from read.execution_exceptions x
        where x.account = p_account
            and x.position > p_after
        order by x.position
        limit p_limit + 1
    ),
    numbered as (
        select c.*, row_number() over (order by c.position) as ordinal
        from candidate c
    )
    select
        trading.is_account_known(p_shard, p_account),
        eventstore.checkpoint(p_shard, 'fills'),
        coalesce(
            json_agg(
                json_build_object(
                    'shard', n.shard,
                    'position', n.position,
                    'type', n.type,
                    'account', n.account,
                    'order_id', n.order_id,
                    'exec_type', n.exec_type,
                    'exec_id', n.exec_id,
                    'exec_ref_id', n.exec_ref_id,
                    'last_qty', eventstore.plain(n.last_qty),
                    'last_px', eventstore.plain(n.last_px),
                    'fee', eventstore.plain(n.fee),
                    'fee_currency', n.fee_currency,
                    'reason', n.reason,
                    'broker_order_id', n.broker_order_id,
                    'is_applied', trading.is_execution_applied(n.shard, n.account, n.order_id, n.exec_id, n.position),
                    'raw_message', (
                        select e.metadata ->> 'raw_message'
                        from eventstore.log e
                        where e.shard = n.shard
                            and e.position = n.position
                    ),
                    'occurred_at', eventstore.rfc3339(n.occurred_at),
                    'recorded_at', eventstore.rfc3339(n.recorded_at)
                )
                order by n.ordinal
            ) filter (where n.ordinal <= p_limit),
            '[]'
        ),
        case when count(*) > p_limit then max(n.position) filter (where n.ordinal = p_limit) end
    from numbered n;
end
$$;
comment on function trading.query_execution_exceptions is
    'A page of the executions of an account that were reported and not applied; next is the position after which the next page begins.';
