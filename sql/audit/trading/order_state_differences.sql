create or replace function audit.order_state_differences(
    p_shard integer, p_account text default null, p_to bigint default 9223372036854775807
)
returns table ("position" bigint, account text, order_id text, carried jsonb, folded jsonb)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_account text;
begin
    -- One account at a time, so that no sort is larger than an account.
    for v_account in
        select e.aggregate_id
        from trading.log e
        where e.shard = p_shard
            and e.aggregate_id = p_account
            and e.sequence = 1
        union all
        select e.aggregate_id
        from trading.log e
        where e.shard = p_shard
            and p_account is null
            and e.sequence = 1
            and e.position <= p_to
    loop
        return query
        with compared as (
            select
                f.last_position,
                f.order_id,
                to_jsonb(f) - '{account,order_id,last_position}'::text[] as folded,
                jsonb_build_object(
                    'quantity', coalesce((e.payload ->> 'quantity')::numeric, 0),
                    'limit_price', (e.payload ->> 'limit_price')::numeric,
                    'stop_price', (e.payload ->> 'stop_price')::numeric,
                    'working_state', coalesce(e.payload ->> 'working_state', 'CREATED'),
                    'pending_request', coalesce(e.payload ->> 'pending_request', 'NONE'),
                    'requested_quantity', (e.payload ->> 'requested_quantity')::numeric,
                    'requested_limit_price', (e.payload ->> 'requested_limit_price')::numeric,
                    'requested_stop_price', (e.payload ->> 'requested_stop_price')::numeric,
                    'cum_qty', coalesce((e.payload ->> 'cum_qty')::numeric, 0),
                    'cum_cost', coalesce((e.payload ->> 'cum_cost')::numeric, 0),
                    'leaves_qty', coalesce(
                        (e.payload ->> case e.type when 'OrderCreated' then 'quantity' else 'leaves_qty' end)::numeric, 0
                    ),
                    'leaves_cash', coalesce(
                        (
                            e.payload ->> case e.type when 'OrderCreated' then 'cash_quantity' else 'leaves_cash' end
                        )::numeric,
                        0
                    ),
                    -- Absent: as much as is left.
                    'exposed_qty', coalesce(
                        (
                            e.payload ->>
                            case e.type when 'OrderCreated' then 'estimated_quantity' else 'exposed_qty' end
                        )::numeric,
                        (e.payload ->> case e.type when 'OrderCreated' then 'quantity' else 'leaves_qty' end)::numeric,
                        0
                    ),
                    'overfill_qty', coalesce((e.payload ->> 'overfill_qty')::numeric, 0),
                    'fees', coalesce(e.payload -> 'fees', '{}'),
                    'broker_order_id', e.payload ->> 'broker_order_id',
                    'reason', e.payload ->> 'reason',
                    'doubts', coalesce(e.payload -> 'doubts', '[]')
                ) as carried
            from audit.order_fold(p_shard, v_account, p_to) f
            join trading.log e on e.shard = p_shard and e.position = f.last_position
        )
        select
            c.last_position,
            v_account,
            c.order_id,
            different.carried,
            different.folded
        from compared c
        -- Amounts are strings in JSON; they are compared as numbers.
        cross join lateral (
            select
                jsonb_object_agg(
                    k.name,
                    case jsonb_typeof(k.value) when 'number' then to_jsonb(c.carried ->> k.name) else k.value end
                ) as carried,
                jsonb_object_agg(
                    k.name,
                    case jsonb_typeof(c.folded -> k.name)
                        when 'number' then to_jsonb(c.folded ->> k.name)
                        else c.folded -> k.name
                    end
                ) as folded
            from jsonb_each(c.carried) k (name, value)
            where k.value <> c.folded -> k.name
        ) different
        where c.carried <> c.folded
        order by c.last_position;
    end loop;
end
$$;
comment on function audit.order_state_differences is
    'The orders whose last event carries a state that does not follow from the order''s facts, and the fields in which the two differ. No row: all is well.';
