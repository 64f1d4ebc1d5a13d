-- p_exception is a row of read.execution_exceptions: a record, because read tables are dropped and made again.
create or replace function trading.execution_exception_json(p_exception record)
returns json
language plpgsql
stable
as $$
begin
    return json_build_object(
        'shard', p_exception.shard,
        'position', p_exception.position,
        'type', p_exception.type,
        'account', p_exception.account,
        'order_id', p_exception.order_id,
        'exec_type', p_exception.exec_type,
        'exec_id', p_exception.exec_id,
        'exec_ref_id', p_exception.exec_ref_id,
        'last_qty', eventstore.plain(p_exception.last_qty),
        'last_px', eventstore.plain(p_exception.last_px),
        'fee', eventstore.plain(p_exception.fee),
        'fee_currency', p_exception.fee_currency,
        'reason', p_exception.reason,
        'broker_order_id', p_exception.broker_order_id,
        'is_applied', trading.is_execution_applied(
            p_exception.shard, p_exception.account, p_exception.order_id, p_exception.exec_id, p_exception.position
        ),
        'raw_message', (
            select l.metadata ->> 'raw_message'
            from eventstore.log l
            where l.shard = p_exception.shard
                and l.position = p_exception.position
        ),
        'occurred_at', eventstore.rfc3339(p_exception.occurred_at),
        'recorded_at', eventstore.rfc3339(p_exception.recorded_at)
    );
end
$$;
comment on function trading.execution_exception_json is
    'An execution that was reported but not applied, as HTTP shows it.';
