create or replace function trading.add_amounts(p_amounts jsonb, p_more jsonb)
returns jsonb
language sql
immutable parallel safe
return (
    select coalesce(jsonb_object_agg(summed.currency, summed.amount), '{}')
    from (
        select
            a.currency,
            trim_scale(sum(a.amount::numeric))::text as amount
        from (
            select * from jsonb_each_text(p_amounts)
            union all
            select * from jsonb_each_text(p_more)
        ) as a (currency, amount)
        group by a.currency
    ) summed
);
comment on function trading.add_amounts(jsonb, jsonb) is
    'Adds exact amounts by currency: {"USDT": "1.5"} and {"USDT": "0.5", "BNB": "1"} are {"USDT": "2", "BNB": "1"}.';
