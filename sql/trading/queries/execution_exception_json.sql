-- p_exception is a row of read.execution_exceptions: a record, because read tables are dropped and made again.
create or replace function trading.execution_exception_json(p_exception record)
returns json
language plpgsql
stable
as $$
declare
    v_subject text;
    v_raw_message text;
begin
    select l.subject, l.metadata ->> 'raw_message'
    into v_subject, v_raw_message
    from eventstore.log l
    where l.shard = p_exception.shard
        and l.position = p_exception.position;

    return json_build_object(
        'shard', p_exception.shard,
        'position', p_exception.position,
        'type', p_exception.type,
        'problem', p_exception.problem,
        'account', p_exception.account,
        'order_id', p_exception.order_id,
        'exec_type', p_exception.exec_type,
        'kind', p_exception.kind,
        'symbol', p_exception.symbol,
        'side', p_exception.side,
        'exec_id', p_exception.exec_id,
        'exec_ref_id', p_exception.exec_ref_id,
        'last_qty', eventstore.plain(p_exception.last_qty),
        'last_px', eventstore.plain(p_exception.last_px),
        'gross_amount', eventstore.plain(p_exception.gross_amount),
        'fee', eventstore.plain(p_exception.fee),
        'fee_currency', p_exception.fee_currency,
        'quantity', eventstore.plain(p_exception.quantity),
        'limit_price', eventstore.plain(p_exception.limit_price),
        'stop_price', eventstore.plain(p_exception.stop_price),
        'request_id', p_exception.request_id,
        'reason', p_exception.reason,
        'broker_order_id', p_exception.broker_order_id,
        'is_applied', trading.is_execution_applied(
            p_exception.problem, p_exception.shard, p_exception.account, v_subject, p_exception.exec_type,
            p_exception.exec_id, p_exception.broker_order_id, p_exception.position
        ),
        'raw_message', v_raw_message,
        'transact_time', eventstore.rfc3339(p_exception.transact_time),
        'counted_at', eventstore.rfc3339(p_exception.counted_at),
        'occurred_at', eventstore.rfc3339(p_exception.occurred_at),
        'recorded_at', eventstore.rfc3339(p_exception.recorded_at)
    );
end
$$;
comment on function trading.execution_exception_json is
    'A report for a person to look at, as HTTP shows it.';
