-- The state of each order, folded from what its events say happened and not from the state that they carry, so that it can
-- check that state. It is deliberately a second implementation of app/foldbook/trading/order_events.py.
create or replace function audit.order_fold(
    p_shard integer, p_account text, p_to bigint default 9223372036854775807
)
returns table (
    account text, order_id text, quantity numeric, limit_price numeric, stop_price numeric, working_state text,
    pending_request text, requested_quantity numeric, requested_limit_price numeric, requested_stop_price numeric,
    cum_qty numeric, cum_cost numeric, leaves_qty numeric, leaves_cash numeric, exposed_qty numeric,
    overfill_qty numeric, fees jsonb, broker_order_id text, reason text, doubts jsonb, last_position bigint
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    with event as materialized (
        select
            e.subject as order_id,
            e.type,
            e.payload,
            e.position
        from trading.log e
        where e.shard = p_shard
            and e.aggregate_id = p_account
            and e.position <= p_to
            and e.type in (
                'OrderCreated', 'OrderDenied', 'OrderSubmitted', 'OrderAccepted', 'OrderRejected', 'OrderCanceled',
                'OrderExpired', 'OrderSuspended', 'OrderDoneForDay', 'OrderRestated', 'OrderCancelRequested',
                'OrderCancelSubmitted', 'OrderCancelPending', 'OrderCancelRejected', 'OrderReplaceRequested',
                'OrderReplaceSubmitted', 'OrderReplaceDenied', 'OrderReplacePending', 'OrderReplaced',
                'OrderReplaceRejected', 'OrderInDoubt', 'OrderDoubtResolved', 'OrderFilled', 'FillBusted',
                'FillCorrected'
            )
    ),
    -- A fill adds one, a bust removes one, a correction removes one and adds another.
    execution as (
        select
            e.order_id,
            x.quantity,
            x.quantity * x.price as cost,
            x.currency,
            x.fee
        from event e
        cross join lateral (
            values
                (
                    (e.payload ->> 'last_qty')::numeric * case e.type when 'FillBusted' then -1 else 1 end,
                    (e.payload ->> 'last_px')::numeric,
                    e.payload ->> 'fee_currency',
                    (e.payload ->> 'fee')::numeric * case e.type when 'FillBusted' then -1 else 1 end
                ),
                (
                    -(e.payload ->> 'previous_qty')::numeric,
                    (e.payload ->> 'previous_px')::numeric,
                    e.payload ->> 'previous_fee_currency',
                    -(e.payload ->> 'previous_fee')::numeric
                )
        ) x (quantity, price, currency, fee)
        where e.type in ('OrderFilled', 'FillBusted', 'FillCorrected')
            and x.quantity is not null
    ),
    traded as (
        select
            x.order_id,
            sum(x.quantity) as quantity,
            sum(x.cost) as cost
        from execution x
        group by x.order_id
    ),
    charged as (
        select
            f.order_id,
            jsonb_object_agg(f.currency, f.amount) as fees
        from (
            select
                x.order_id,
                x.currency,
                trim_scale(sum(x.fee))::text as amount
            from execution x
            where x.currency is not null
            group by x.order_id, x.currency
        ) f
        group by f.order_id
    ),
    happened as (
        select
            e.order_id,
            (array_agg(e.payload) filter (where e.type = 'OrderCreated'))[1] as created,
            (
                array_agg(e.payload order by e.position desc)
                filter (where e.type in ('OrderCreated', 'OrderReplaced', 'OrderRestated'))
            )[1] as terms,
            (
                array_agg(e.payload ->> 'broker_order_id' order by e.position desc)
                filter (
                    where e.type in (
                        'OrderSubmitted', 'OrderAccepted', 'OrderReplaced', 'OrderFilled', 'OrderRejected',
                        'OrderCanceled', 'OrderExpired'
                    )
                )
            )[1] as broker_order_id,
            -- The leg to which a replace has moved the order. What is told of another one says nothing of the order.
            (
                array_agg(e.payload ->> 'broker_order_id' order by e.position desc)
                filter (
                    where e.type = 'OrderReplaced'
                        and e.payload ? 'superseded_order_id'
                        and e.payload ? 'broker_order_id'
                )
            )[1] as leg_id,
            coalesce(max(e.position) filter (where e.type = 'OrderSuspended'), 0) as suspended_position,
            (
                array_agg(e.payload ->> 'rested_order_id' order by e.position desc)
                filter (where e.type = 'OrderSuspended')
            )[1] as suspended_leg_id,
            coalesce(max(e.position) filter (where e.type = 'OrderDoneForDay'), 0) as done_position,
            (
                array_agg(e.payload ->> 'rested_order_id' order by e.position desc)
                filter (where e.type = 'OrderDoneForDay')
            )[1] as done_leg_id,
            coalesce(
                max(e.position) filter (
                    where e.type = 'OrderRestated'
                        and coalesce((e.payload ->> 'resumes')::boolean, true)
                        and not coalesce(e.payload -> 'lasting' ? 'SUSPENDED', false)
                ),
                0
            ) as trading_again_position,
            coalesce(
                max(e.position) filter (
                    where e.type = 'OrderRestated'
                        and coalesce((e.payload ->> 'resumes')::boolean, true)
                        and not coalesce(e.payload -> 'lasting' ? 'DONE_FOR_DAY', false)
                ),
                0
            ) as next_day_position,
            bool_or(e.type in ('OrderAccepted', 'OrderReplaced', 'OrderFilled')) as is_accepted,
            bool_or(e.type = 'OrderSubmitted') as is_submitted,
            coalesce(
                audit.outstanding_requests(e.type, e.payload order by e.position) filter (
                    where e.type like 'OrderCancel%' or e.type like 'OrderReplace%'
                ),
                '[]'
            ) as requests,
            -- What each OrderInDoubt was about, without what was resolved.
            coalesce(
                jsonb_agg(e.payload -> 'doubts' -> -1 order by e.position) filter (
                    where e.type = 'OrderInDoubt'
                        and not exists (
                            select from event r
                            where r.order_id = e.order_id
                                and r.type = 'OrderDoubtResolved'
                                and r.payload ->> 'doubt_id' = e.payload -> 'doubts' -> -1 ->> 'doubt_id'
                        )
                ),
                '[]'
            ) as doubts,
            max(e.position) as last_position
        from event e
        group by e.order_id
    ),
    -- Of several ends the first of these stands, whichever was told first.
    finished as (
        select distinct on (e.order_id)
            e.order_id,
            e.type as ended_by,
            e.payload ->> 'reason' as reason
        from event e
        join happened h on h.order_id = e.order_id
        where e.type in ('OrderDenied', 'OrderCanceled', 'OrderExpired', 'OrderRejected')
            and (h.leg_id is null or coalesce(e.payload ->> 'ended_order_id', h.leg_id) = h.leg_id)
        order by
            e.order_id,
            array_position(array['OrderDenied', 'OrderCanceled', 'OrderExpired', 'OrderRejected'], e.type),
            e.position
    ),
    rested as (
        select
            h.order_id,
            h.suspended_position > h.trading_again_position
            and (h.leg_id is null or coalesce(h.suspended_leg_id, h.leg_id) = h.leg_id) as is_suspended,
            h.done_position > h.next_day_position
            and (h.leg_id is null or coalesce(h.done_leg_id, h.leg_id) = h.leg_id) as is_done_for_day
        from happened h
    ),
    asked as (
        select
            h.order_id,
            bool_or(r.request ->> 'kind' = 'CANCEL') as is_cancel,
            max((r.request ->> 'quantity')::numeric) as largest_quantity,
            (
                array_agg(r.request order by r.ordinal desc)
                filter (where r.request ->> 'quantity' is not null)
            )[1] as requested
        from happened h
        cross join lateral jsonb_array_elements(h.requests) with ordinality r (request, ordinal)
        group by h.order_id
    ),
    standing as (
        select
            h.order_id,
            coalesce((h.terms ->> 'quantity')::numeric, 0) as quantity,
            (h.terms ->> 'limit_price')::numeric as limit_price,
            (h.terms ->> 'stop_price')::numeric as stop_price,
            (h.created ->> 'cash_quantity')::numeric as cash_quantity,
            (h.created ->> 'estimated_quantity')::numeric as estimated_quantity,
            f.ended_by,
            r.is_done_for_day,
            r.is_suspended,
            h.is_accepted,
            h.is_submitted,
            f.ended_by is not null or r.is_done_for_day and h.created ->> 'time_in_force' = 'DAY' as has_ended,
            -- Nothing is pending once it has ended.
            case
                when f.ended_by is not null then 'NONE'
                when a.is_cancel then 'CANCEL'
                when a.order_id is not null then 'REPLACE'
                else 'NONE'
            end as pending_request,
            case when f.ended_by is null then a.requested end as requested,
            a.largest_quantity,
            coalesce(t.quantity, 0) as cum_qty,
            coalesce(t.cost, 0) as cum_cost,
            coalesce(c.fees, '{}') as fees,
            h.broker_order_id,
            f.reason,
            h.doubts,
            h.last_position
        from happened h
        join rested r on r.order_id = h.order_id
        left join traded t on t.order_id = h.order_id
        left join charged c on c.order_id = h.order_id
        left join asked a on a.order_id = h.order_id
        left join finished f on f.order_id = h.order_id
    ),
    -- A quantity of 0 is not known: the order is for money, and filled when that is spent.
    measured as (
        select
            s.*,
            case
                when s.quantity = 0 and s.cash_quantity is not null
                    then s.cum_qty > 0 and s.cum_cost >= s.cash_quantity
                else s.cum_qty >= s.quantity
            end as is_filled
        from standing s
    )
    select
        p_account,
        s.order_id,
        s.quantity,
        s.limit_price,
        s.stop_price,
        case
            when s.ended_by <> 'OrderDenied' and s.is_filled and s.cum_qty > 0 then 'FILLED'
            when s.ended_by is not null then upper(substr(s.ended_by, 6))
            when s.is_done_for_day then 'DONE_FOR_DAY'
            when s.is_filled then 'FILLED'
            when s.is_suspended then 'SUSPENDED'
            when s.cum_qty > 0 then 'PARTIALLY_FILLED'
            when s.is_accepted then 'NEW'
            when s.is_submitted then 'PENDING_NEW'
            else 'CREATED'
        end,
        s.pending_request,
        (s.requested ->> 'quantity')::numeric,
        (s.requested ->> 'limit_price')::numeric,
        (s.requested ->> 'stop_price')::numeric,
        s.cum_qty,
        s.cum_cost,
        case when s.has_ended or s.is_filled or s.quantity = 0 then 0 else s.quantity - s.cum_qty end,
        case
            when s.has_ended or s.is_filled or s.quantity <> 0 then 0
            else greatest(coalesce(s.cash_quantity, 0) - s.cum_cost, 0)
        end,
        case
            when s.has_ended then 0
            else greatest(
                s.quantity - s.cum_qty,
                s.largest_quantity - s.cum_qty,
                case when s.quantity = 0 and not s.is_filled then s.estimated_quantity - s.cum_qty end,
                0
            )
        end,
        case when s.quantity = 0 then 0 else greatest(s.cum_qty - s.quantity, 0) end,
        s.fees,
        s.broker_order_id,
        s.reason,
        s.doubts,
        s.last_position
    from measured s;
end
$$;
comment on function audit.order_fold is
    'The orders of an account as of a position of the log, folded from what happened to them and not from the state that their events carry.';
