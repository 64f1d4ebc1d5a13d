create or replace function audit.fill_differences()
returns table (shard integer, log_position bigint, problem text, in_the_log jsonb, in_the_read_table jsonb)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
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
            e.subject,
            coalesce(e.payload ->> 'exec_ref_id', e.payload ->> 'exec_id') as fill_exec_id,
            e.payload
        from audit.subscription_reach('fills') r
        join trading.log e on e.shard = r.shard and e.position <= r.checkpoint
        where e.type in (
            'OrderFilled', 'FillBusted', 'FillCorrected', 'ExecutionBooked', 'ExecutionBusted', 'ExecutionCorrected'
        )
    ),
    -- Each fill in its current state: as reported, or as last corrected.
    standing as (
        select
            x.shard,
            min(x.position) filter (where x.type in ('OrderFilled', 'ExecutionBooked')) as position,
            x.account,
            x.fill_exec_id,
            bool_or(x.type in ('FillBusted', 'ExecutionBusted')) as is_busted,
            max(x.position) filter (where x.type not in ('OrderFilled', 'ExecutionBooked')) as changed_position,
            count(*) filter (where x.type in ('FillCorrected', 'ExecutionCorrected')) > 0 as is_corrected,
            (
                array_agg(x.payload order by x.position) filter (where x.type in ('OrderFilled', 'ExecutionBooked'))
            )[1] as booked,
            (
                array_agg(x.payload order by x.position desc)
                filter (where x.type not in ('FillBusted', 'ExecutionBusted'))
            )[1] as payload
        from execution x
        group by x.shard, x.account, x.subject, x.fill_exec_id
    ),
    -- The money is 0 where an inverse contract traded at a price of 0.
    priced as (
        select
            s.*,
            coalesce(s.booked ->> 'instrument_kind', 'SPOT') as instrument_kind,
            coalesce((s.booked ->> 'multiplier')::numeric, 1) as multiplier,
            (s.payload ->> 'last_qty')::numeric as last_qty,
            (s.payload ->> 'last_px')::numeric as last_px,
            (s.payload ->> 'gross_amount')::numeric as gross_amount
        from standing s
    ),
    expected as (
        select
            s.shard,
            s.position,
            false as is_exception,
            to_jsonb(f) as row
        from priced s
        cross join lateral (
            select
                s.account,
                s.booked ->> 'order_id' as order_id,
                s.booked ->> 'strategy_id' as strategy_id,
                s.booked ->> 'kind' as kind,
                s.booked ->> 'symbol' as symbol,
                s.booked ->> 'side' as side,
                s.fill_exec_id as exec_id,
                s.instrument_kind,
                s.multiplier,
                case s.instrument_kind
                    when 'INVERSE' then s.booked ->> 'base_currency'
                    else s.booked ->> 'quote_currency'
                end as currency,
                s.last_qty,
                s.last_px,
                s.gross_amount,
                trim_scale(
                    case
                        when s.gross_amount is not null then s.gross_amount
                        when s.instrument_kind <> 'INVERSE' then s.last_qty * s.last_px * s.multiplier
                        when s.last_px = 0 then 0
                        else s.last_qty * trading.quotient(s.multiplier, s.last_px, 36)
                    end
                ) as money,
                (s.payload ->> 'fee')::numeric as fee,
                s.payload ->> 'fee_currency' as fee_currency,
                s.is_busted,
                s.changed_position,
                case when s.is_corrected then (s.booked ->> 'last_qty')::numeric end as original_qty,
                case when s.is_corrected then (s.booked ->> 'last_px')::numeric end as original_px,
                case when s.is_corrected then (s.booked ->> 'gross_amount')::numeric end as original_gross_amount,
                case when s.is_corrected then (s.booked ->> 'fee')::numeric end as original_fee,
                case when s.is_corrected then s.booked ->> 'fee_currency' end as original_fee_currency
        ) f
        union all
        select
            e.shard,
            e.position,
            true,
            to_jsonb(s)
        from audit.subscription_reach('fills') r
        join trading.log e on e.shard = r.shard and e.position <= r.checkpoint
        cross join lateral (
            select
                e.aggregate_id as account,
                e.type,
                case e.type
                    when 'UnmatchedExecutionRecorded' then 'unmatched'
                    when 'FillConflictDetected' then 'conflict'
                    else 'time-ahead'
                end as problem,
                e.payload ->> 'order_id' as order_id,
                e.payload ->> 'exec_type' as exec_type,
                e.payload ->> 'kind' as kind,
                e.payload ->> 'symbol' as symbol,
                e.payload ->> 'side' as side,
                e.payload ->> 'exec_id' as exec_id,
                e.payload ->> 'exec_ref_id' as exec_ref_id,
                (e.payload ->> 'last_qty')::numeric as last_qty,
                (e.payload ->> 'last_px')::numeric as last_px,
                (e.payload ->> 'gross_amount')::numeric as gross_amount,
                (e.payload ->> 'fee')::numeric as fee,
                e.payload ->> 'fee_currency' as fee_currency,
                (e.payload ->> 'quantity')::numeric as quantity,
                (e.payload ->> 'limit_price')::numeric as limit_price,
                (e.payload ->> 'stop_price')::numeric as stop_price,
                e.payload ->> 'request_id' as request_id,
                e.payload ->> 'reason' as reason,
                e.payload ->> 'broker_order_id' as broker_order_id,
                (e.payload ->> 'transact_time')::timestamptz as transact_time,
                (e.payload ->> 'counted_at')::timestamptz as counted_at
        ) s
        where e.type in ('UnmatchedExecutionRecorded', 'FillConflictDetected')
            or e.payload ? 'transact_time'
            and e.payload ? 'counted_at'
    ),
    kept as (
        select
            f.shard,
            f.position,
            false as is_exception,
            to_jsonb(s) as row
        from read.fills f
        cross join lateral (
            select
                f.account, f.order_id, f.strategy_id, f.kind, f.symbol, f.side, f.exec_id, f.instrument_kind,
                f.multiplier, f.currency, f.last_qty, f.last_px, f.gross_amount, trim_scale(f.money) as money, f.fee,
                f.fee_currency, f.is_busted, f.changed_position, f.original_qty, f.original_px,
                f.original_gross_amount, f.original_fee, f.original_fee_currency
        ) s
        union all
        select
            x.shard,
            x.position,
            true,
            to_jsonb(s)
        from read.execution_exceptions x
        cross join lateral (
            select
                x.account, x.type, x.problem, x.order_id, x.exec_type, x.kind, x.symbol, x.side, x.exec_id, x.exec_ref_id,
                x.last_qty, x.last_px, x.gross_amount, x.fee, x.fee_currency, x.quantity, x.limit_price, x.stop_price,
                x.request_id, x.reason, x.broker_order_id, x.transact_time, x.counted_at
        ) s
    )
    select
        coalesce(e.shard, k.shard),
        coalesce(e.position, k.position),
        case when k.row is null then 'missing' when e.row is null then 'surplus' else 'different' end,
        e.row,
        k.row
    from expected e
    full join kept k on k.shard = e.shard and k.position = e.position and k.is_exception = e.is_exception
    where e.row is distinct from k.row
    order by 1, 2, 3;
end
$$;
comment on function audit.fill_differences is
    'Where read.fills and read.execution_exceptions differ from the log, up to where their projection has read: a row is missing, surplus or different. No row: all is well.';
