-- p_balance is a row of read.ledger_balances: a record, because read tables are dropped and made again.
create or replace function trading.balance_json(p_balance record)
returns json
language plpgsql
stable
as $$
begin
    return json_build_object(
        'account', p_balance.account,
        'currency', p_balance.currency,
        'amounts', trading.ledger_amounts_json(p_balance)
    );
end
$$;
comment on function trading.balance_json is 'The balances of an account in one currency as HTTP shows them.';
