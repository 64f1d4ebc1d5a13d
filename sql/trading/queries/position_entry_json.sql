-- p_entry is a row of read.position_entries: a record, because read tables are dropped and made again.
create or replace function trading.position_entry_json(p_entry record, p_event eventstore.log)
returns json
language plpgsql
stable
as $$
begin
    return json_build_object(
        'position', p_entry.position,
        'type', p_entry.type,
        'order_id', p_entry.order_id,
        'strategy_id', p_entry.strategy_id,
        'side', p_event.payload ->> 'side',
        'exec_id', p_entry.exec_id,
        'exec_ref_id', p_entry.exec_ref_id,
        'is_reversal', p_entry.reversed_quantity is not null,
        'kind', p_event.payload ->> 'kind',
        'last_qty', eventstore.plain((p_event.payload ->> 'last_qty')::numeric),
        'last_px', eventstore.plain((p_event.payload ->> 'last_px')::numeric),
        'gross_amount', eventstore.plain((p_event.payload ->> 'gross_amount')::numeric),
        'fee', eventstore.plain((p_event.payload ->> 'fee')::numeric),
        'fee_currency', p_event.payload ->> 'fee_currency',
        'reference', p_event.payload ->> 'reference',
        'adjusted_quantity', case p_entry.type
            when 'AccountAdjusted' then eventstore.plain((p_event.payload ->> 'quantity')::numeric)
        end,
        'adjusted_value', case p_entry.type when 'AccountAdjusted' then eventstore.plain(p_entry.fill_value) end,
        'split_to', (p_event.payload ->> 'split_to')::integer,
        'split_from', (p_event.payload ->> 'split_from')::integer,
        'quantity', eventstore.plain(p_entry.quantity),
        'avg_px', eventstore.plain(
            trading.average_price(p_entry.cost, p_entry.quantity, p_entry.multiplier, p_entry.kind)
        ),
        'cost', eventstore.plain(p_entry.cost),
        'realized_pnl', eventstore.plain(p_entry.realized_pnl),
        'fees', p_entry.fees,
        'cycle', p_entry.cycle,
        'occurred_at', eventstore.rfc3339(p_event.occurred_at),
        'recorded_at', eventstore.rfc3339(p_event.recorded_at),
        'command_id', p_event.command_id,
        'actor', p_event.metadata ->> 'actor',
        'correlation_id', p_event.metadata ->> 'correlation_id',
        'causation_id', p_event.metadata ->> 'causation_id',
        'raw_message', p_event.metadata ->> 'raw_message'
    );
end
$$;
comment on function trading.position_entry_json is
    'An execution or an adjustment as HTTP shows it, with the position after it and the command that it came from. kind: why it was booked without an order of ours.';
