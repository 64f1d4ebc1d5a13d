create or replace aggregate eventstore.fee_totals(p_before jsonb, p_currency text, p_fee numeric) (
    sfunc = eventstore.add_fee,
    stype = jsonb,
    parallel = safe
);
comment on aggregate eventstore.fee_totals(jsonb, text, numeric) is
    'Fees summed by currency, from p_before or from nothing: {"USDT": "1.25", "BTC": "0.001"}.';
