create or replace aggregate trading.fee_totals(p_before jsonb, p_currency text, p_fee numeric) (
    sfunc = trading.add_fee,
    stype = jsonb,
    parallel = safe
);
comment on aggregate trading.fee_totals(jsonb, text, numeric) is
    'Fees summed by currency, starting from p_before or from nothing: {"USDT": "1.25", "BTC": "0.001"}.';
