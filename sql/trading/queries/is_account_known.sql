create or replace function trading.is_account_known(p_shard integer, p_account text)
returns boolean
language sql
stable parallel safe
begin atomic
    select exists (
        select from trading.log l
        where l.shard = p_shard and l.aggregate_id = p_account and l.sequence = 1
    );
end;
comment on function trading.is_account_known is
    'Whether an order book was ever opened for the account. Reads the log, which has it before any read table.';
