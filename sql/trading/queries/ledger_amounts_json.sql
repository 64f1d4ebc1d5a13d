-- p_row is a row of read.ledger_entries or read.ledger_balances: a record, because read tables are dropped and made again.
create or replace function trading.ledger_amounts_json(p_row record)
returns json
language plpgsql
stable
as $$
begin
    return json_build_object(
        'position', eventstore.plain(p_row.position),
        'cash', eventstore.plain(p_row.cash),
        'exchange', eventstore.plain(p_row.exchange),
        'fees', eventstore.plain(p_row.fees),
        'capital', eventstore.plain(p_row.capital),
        'income', eventstore.plain(p_row.income)
    );
end
$$;
comment on function trading.ledger_amounts_json is
    'The amounts of an entry or a balance, by ledger account, as HTTP shows them; they sum to zero.';
