-- p_entry is a row of read.ledger_entries: a record, because read tables are dropped and made again.
create or replace function trading.ledger_entry_json(p_entry record, p_event eventstore.log)
returns json
language plpgsql
stable
as $$
begin
    return json_build_object(
        'log_position', p_entry.log_position,
        'entry', p_entry.entry,
        'type', p_event.type,
        -- Of what was booked; a definition tells what the instrument is.
        'kind', case when p_event.type <> 'InstrumentDefined' then p_event.payload ->> 'kind' end,
        'symbol', p_event.payload ->> 'symbol',
        'order_id', p_event.payload ->> 'order_id',
        'exec_id', p_event.payload ->> 'exec_id',
        'reference', p_event.payload ->> 'reference',
        'currency', p_entry.currency,
        'amounts', trading.ledger_amounts_json(p_entry),
        'occurred_at', eventstore.rfc3339(p_event.occurred_at),
        'recorded_at', eventstore.rfc3339(p_event.recorded_at)
    );
end
$$;
comment on function trading.ledger_entry_json is 'An entry of the ledger as HTTP shows it, with the event that it came from.';
