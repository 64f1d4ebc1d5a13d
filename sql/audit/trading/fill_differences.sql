create or replace function audit.fill_differences()
returns table (shard integer, log_position bigint, problem text, in_the_log jsonb, in_the_read_table jsonb)
language plpgsql
stable
as $$
#variable_conflict use_column
begin
    return query
    with execution as materialized (
        select
            e.shard,
            e.position,
            e.type,
            e.aggregate_id as account,
            e.subject as order_id,
            coalesce(e.payload ->> 'exec_ref_id', e.payload ->> 'exec_id') as fill_exec_id,
            e.payload
        from audit.subscription_reach('fills') r
        join trading.log e on e.shard = r.shard and e.position <= r.checkpoint
        where e.type in ('OrderFilled', 'FillBusted', 'FillCorrected')
    ),
    -- Each fill in its current state: as reported, or as last corrected.
    standing as (
        select
            x.shard,
            min(x.position) filter (where x.type = 'OrderFilled') as position,
            x.account,
            x.order_id,
            x.fill_exec_id,
            bool_or(x.type = 'FillBusted') as is_busted,
            (array_agg(x.payload order by x.position desc) filter (where x.type <> 'FillBusted'))[1] as payload
        from execution x
        group by x.shard, x.account, x.order_id, x.fill_exec_id
    ),
    expected as (
        select
            s.shard,
            s.position,
            to_jsonb(f) as row
        from standing s
        cross join lateral (
            select
                s.account,
                s.order_id,
                s.payload ->> 'strategy_id' as strategy_id,
                s.payload ->> 'symbol' as symbol,
                s.payload ->> 'side' as side,
                s.fill_exec_id as exec_id,
                (s.payload ->> 'last_qty')::numeric as last_qty,
                (s.payload ->> 'last_px')::numeric as last_px,
                (s.payload ->> 'fee')::numeric as fee,
                s.payload ->> 'fee_currency' as fee_currency,
                s.is_busted
        ) f
        union all
        select
            e.shard,
            e.position,
            to_jsonb(s)
        from audit.subscription_reach('fills') r
        join trading.log e on e.shard = r.shard and e.position <= r.checkpoint
        cross join lateral (
            select
                e.aggregate_id as account,
                e.type,
                e.subject as order_id,
                e.payload ->> 'exec_type' as exec_type,
                e.payload ->> 'exec_id' as exec_id,
                e.payload ->> 'exec_ref_id' as exec_ref_id,
                (e.payload ->> 'last_qty')::numeric as last_qty,
                (e.payload ->> 'last_px')::numeric as last_px,
                (e.payload ->> 'fee')::numeric as fee,
                e.payload ->> 'fee_currency' as fee_currency
        ) s
        where e.type in ('UnmatchedExecutionRecorded', 'FillConflictDetected')
    ),
    kept as (
        select
            f.shard,
            f.position,
            to_jsonb(s) as row
        from read.fills f
        cross join lateral (
            select
                f.account, f.order_id, f.strategy_id, f.symbol, f.side, f.exec_id, f.last_qty, f.last_px, f.fee,
                f.fee_currency, f.is_busted
        ) s
        union all
        select
            x.shard,
            x.position,
            to_jsonb(s)
        from read.execution_exceptions x
        cross join lateral (
            select
                x.account, x.type, x.order_id, x.exec_type, x.exec_id, x.exec_ref_id, x.last_qty, x.last_px, x.fee,
                x.fee_currency
        ) s
    )
    select
        coalesce(e.shard, k.shard),
        coalesce(e.position, k.position),
        case when k.row is null then 'missing' when e.row is null then 'surplus' else 'different' end,
        e.row,
        k.row
    from expected e
    full join kept k on k.shard = e.shard and k.position = e.position
    where e.row is distinct from k.row
    order by 1, 2;
end
$$;
comment on function audit.fill_differences is
    'Where read.fills and read.execution_exceptions differ from the log, up to where their projection has read: a row is missing, surplus or different. No row: all is well.';
