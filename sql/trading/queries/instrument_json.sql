-- p_instrument is a row of read.instruments: a record, because read tables are dropped and made again.
create or replace function trading.instrument_json(p_instrument record)
returns json
language plpgsql
stable
as $$
begin
    return json_build_object(
        'account', p_instrument.account,
        'symbol', p_instrument.symbol,
        'kind', p_instrument.kind,
        'tick_size', eventstore.plain(p_instrument.tick_size),
        'lot_size', eventstore.plain(p_instrument.lot_size),
        'multiplier', eventstore.plain(p_instrument.multiplier),
        'base_currency', p_instrument.base_currency,
        'quote_currency', p_instrument.quote_currency,
        'expiry', eventstore.rfc3339(p_instrument.expiry),
        'allows_negative_prices', p_instrument.allows_negative_prices,
        'changed_at', eventstore.rfc3339(p_instrument.changed_at),
        'last_position', p_instrument.position
    );
end
$$;
comment on function trading.instrument_json is 'An instrument as HTTP shows it.';
