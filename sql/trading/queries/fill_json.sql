-- p_fill is a row of read.fills: a record, because read tables are dropped and made again.
create or replace function trading.fill_json(p_fill record)
returns json
language plpgsql
stable
as $$
begin
    return json_build_object(
        'shard', p_fill.shard,
        'position', p_fill.position,
        'account', p_fill.account,
        'order_id', p_fill.order_id,
        'strategy_id', p_fill.strategy_id,
        'kind', p_fill.kind,
        'symbol', p_fill.symbol,
        'side', p_fill.side,
        'exec_id', p_fill.exec_id,
        'instrument_kind', p_fill.instrument_kind,
        'multiplier', eventstore.plain(p_fill.multiplier),
        'currency', p_fill.currency,
        'last_qty', eventstore.plain(p_fill.last_qty),
        'last_px', eventstore.plain(p_fill.last_px),
        'gross_amount', eventstore.plain(p_fill.gross_amount),
        'money', eventstore.plain(p_fill.money),
        'fee', eventstore.plain(p_fill.fee),
        'fee_currency', p_fill.fee_currency,
        'occurred_at', eventstore.rfc3339(p_fill.occurred_at),
        'recorded_at', eventstore.rfc3339(p_fill.recorded_at),
        'is_busted', p_fill.is_busted,
        'changed_position', p_fill.changed_position,
        'original_qty', eventstore.plain(p_fill.original_qty),
        'original_px', eventstore.plain(p_fill.original_px),
        'original_gross_amount', eventstore.plain(p_fill.original_gross_amount),
        'original_fee', eventstore.plain(p_fill.original_fee),
        'original_fee_currency', p_fill.original_fee_currency
    );
end
$$;
comment on function trading.fill_json is 'A fill as HTTP shows it.';
