-- p_is_previous: of a correction, the fill as it was before. A fill has last_qty; an adjustment has quantity and value.
create or replace function trading.booking(p_payload jsonb, p_is_previous boolean default false)
returns table (quantity numeric, value numeric)
language sql
immutable parallel safe
begin atomic
    select
        case
            when p.last_qty is null then p.quantity
            else trading.signed_quantity(
                p.side, t.qty, t.fee, t.fee_currency, p.base_currency, p.instrument_kind
            )
        end,
        case
            when p.last_qty is null then p.value
            else trading.fill_value(
                p.side,
                t.qty,
                trading.unit_cost(t.px, p.multiplier, p.instrument_kind),
                t.gross_amount,
                trading.fee_in_kind(t.fee, t.fee_currency, p.base_currency, p.instrument_kind),
                p.instrument_kind
            )
        end
    from jsonb_to_record(p_payload) p (
        side text, last_qty numeric, last_px numeric, gross_amount numeric, fee numeric, fee_currency text,
        previous_qty numeric, previous_px numeric, previous_gross_amount numeric, previous_fee numeric,
        previous_fee_currency text, quantity numeric, value numeric, instrument_kind text, multiplier numeric,
        base_currency text
    )
    cross join lateral (
        select p.last_qty, p.last_px, p.gross_amount, p.fee, p.fee_currency
        where not p_is_previous
        union all
        select p.previous_qty, p.previous_px, p.previous_gross_amount, p.previous_fee, p.previous_fee_currency
        where p_is_previous
    ) t (qty, px, gross_amount, fee, fee_currency);
end;
comment on function trading.booking is
    'What the payload of an execution or an adjustment adds to a position: a signed quantity, and what that costs.';
