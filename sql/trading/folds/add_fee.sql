create or replace function trading.add_fee(p_fees jsonb, p_before jsonb, p_currency text, p_fee numeric)
returns jsonb
language plpgsql
immutable parallel safe
as $$
begin
    if p_fees is null then
        p_fees := coalesce(p_before, '{}');
    end if;
    if p_fee is null or p_currency is null then
        return p_fees;
    end if;
    return p_fees
        || jsonb_object(
            array[p_currency, trim_scale(coalesce((p_fees ->> p_currency)::numeric, 0) + p_fee)::text]
        );
end
$$;
comment on function trading.add_fee is
    'Fees by currency, exact, after one more: {"USDT": "1.25", "BTC": "0.001"}. The step of fee_totals.';
