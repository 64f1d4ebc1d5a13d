create or replace function trading.query_risk(p_shard integer, p_account text)
returns table ("position" bigint, document json)
language plpgsql
stable
as $$
begin
    return query
    select
        eventstore.checkpoint(p_shard, 'settings'),
        case
            when trading.is_account_known(p_shard, p_account)
                then json_build_object(
                    'account', p_account,
                    'state', coalesce(s.trading_state, 'ACTIVE'),
                    'reason', s.reason,
                    'changed_at', eventstore.rfc3339(s.changed_at),
                    'limits', coalesce(
                        (select r.limits from read.risk_limits r where r.account = p_account and r.symbol = ''), '{}'
                    ),
                    'symbols', (
                        select coalesce(json_object_agg(r.symbol, r.limits order by r.symbol), '{}')
                        from read.risk_limits r
                        where r.account = p_account
                            and r.symbol <> ''
                            and r.limits <> '{}'
                    )
                )
        end
    from (values (p_account)) asked (account)
    left join read.account_settings s on s.account = asked.account;
end
$$;
comment on function trading.query_risk is
    'The trading state of an account, its limits, and the limits of each symbol that has any; an absent limit does not limit. The document is null if the account is unknown.';
