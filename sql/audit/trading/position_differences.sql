-- Compares only the keys of the journal, read.position_entries. `foldbook projections verify positions` compares the
-- position that each entry shows.
create or replace function audit.position_differences()
returns table (
    shard integer, account text, symbol text, log_position bigint, problem text, in_the_log jsonb,
    in_the_read_table jsonb
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with told as (
        select
            r.shard,
            r.checkpoint,
            e.aggregate_id as account,
            e.payload ->> 'symbol' as symbol,
            e.position,
            e.type,
            min(e.position) filter (where e.type <> 'InstrumentDefined')
                over (partition by r.shard, e.aggregate_id, e.payload ->> 'symbol') as first_position
        from audit.subscription_reach('positions') r
        join trading.log e on e.shard = r.shard and e.position <= r.checkpoint
        where case e.type
            when 'AccountAdjusted' then e.payload ? 'quantity'
            when 'InstrumentDefined' then e.payload ? 'put_right'
            else e.type in (
                'OrderFilled', 'FillBusted', 'FillCorrected', 'ExecutionBooked', 'ExecutionBusted', 'ExecutionCorrected'
            )
        end
    ),
    -- A currency that becomes known changes nothing before the first execution.
    execution as materialized (
        select t.*
        from told t
        where t.position >= t.first_position
    ),
    expected as (
        select
            x.shard,
            x.account,
            x.symbol,
            to_jsonb(s) as row
        from (select distinct x.shard, x.checkpoint, x.account, x.symbol from execution x) x
        cross join lateral (
            select
                p.quantity, p.cost, p.realized_pnl, p.cycle, p.fees, p.multiplier, p.kind, p.base_currency,
                p.quote_currency, p.last_log_position as last_position
            from audit.position_as_of(x.account, x.symbol, x.checkpoint) p
        ) s
    ),
    kept as (
        select
            p.shard,
            p.account,
            p.symbol,
            to_jsonb(s) as row
        from read.positions p
        cross join lateral (
            select
                p.quantity, p.cost, p.realized_pnl, p.cycle, p.fees, p.multiplier, p.kind, p.base_currency,
                p.quote_currency, p.last_position
        ) s
    )
    select
        coalesce(e.shard, k.shard),
        coalesce(e.account, k.account),
        coalesce(e.symbol, k.symbol),
        null::bigint,
        case when k.row is null then 'missing' when e.row is null then 'surplus' else 'different' end,
        e.row,
        k.row
    from expected e
    full join kept k on k.shard = e.shard and k.account = e.account and k.symbol = e.symbol
    where e.row is distinct from k.row
    union all
    select
        coalesce(x.shard, e.shard),
        coalesce(x.account, e.account),
        coalesce(x.symbol, e.symbol),
        coalesce(x.position, e.position),
        case when e.position is null then 'entry-missing' else 'entry-surplus' end,
        null,
        null
    from execution x
    full join read.position_entries e
        on e.shard = x.shard
        and e.account = x.account
        and e.symbol = x.symbol
        and e.position = x.position
        and e.type = x.type
    where x.position is null
        or e.position is null
    order by 1, 2, 3, 4 nulls first, 5;
end
$$;
comment on function audit.position_differences is
    'Where read.positions differs from the log, up to where its projection has read: a row is missing, surplus or different; or an event that changes it has no entry in the journal, or an entry has no such event (entry-missing, entry-surplus). No row: all is well.';
