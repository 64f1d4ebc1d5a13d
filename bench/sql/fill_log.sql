-- A long log in little time: p_events events of orders that live side by side on p_accounts accounts, written by a few
-- set-based statements into events, commands and commits, as append would have left them, hashes too. Of ten orders,
-- five are filled in two parts, two in one, two are canceled (one of them partly filled) and one is rejected. Needs an
-- empty log and PostgreSQL 18.
create schema if not exists bench;

create function bench.fill_log(p_events integer, p_accounts integer, p_commit_size integer)
returns void
language plpgsql
set work_mem = '256MB'
set maintenance_work_mem = '512MB'
set jit = off
as $$
declare
    -- Steps of an order's life lie this many births apart.
    v_pace constant integer := 300;
    v_begin constant timestamptz := clock_timestamp() - make_interval(secs => p_events * 0.0001);
    v_drop text[];
    v_make text[];
    v_statement text;
    v_hash bytea := sha256('');
    v_previous_hash bytea;
    v_commit record;
begin
    -- Indexes, whatever they are, are made afterwards, in one go.
    select
        array_agg(case
            when c.oid is null then format('drop index %s', i.indexrelid::regclass)
            else format('alter table %s drop constraint %I', i.indrelid::regclass, c.conname)
        end),
        array_agg(case
            when c.oid is null then pg_get_indexdef(i.indexrelid)
            else format('alter table %s add constraint %I %s', i.indrelid::regclass, c.conname, pg_get_constraintdef(c.oid))
        end)
    into v_drop, v_make
    from pg_index i
    left join pg_constraint c on c.conindid = i.indexrelid
    where i.indrelid in ('eventstore.events'::regclass, 'eventstore.commands'::regclass);

    foreach v_statement in array v_drop loop
        execute v_statement;
    end loop;

    with path (kind, step, type, working_state, last_qty, cum_qty, leaves_qty) as (
        select life.kind, step.*
        from unnest(array[0, 1, 2, 3, 4]) life (kind)
        cross join (values
            (0, 'OrderCreated', null, null, null, null),
            (1, 'OrderAccepted', 'NEW', null, '0', '2'),
            (2, 'OrderFilled', 'PARTIALLY_FILLED', '0.5', '0.5', '1.5'),
            (3, 'OrderFilled', 'FILLED', '1.5', '2', '0')
        ) step
        union all
        select life.kind, step.*
        from unnest(array[5, 6]) life (kind)
        cross join (values
            (0, 'OrderCreated', null, null, null, null),
            (1, 'OrderAccepted', 'NEW', null, '0', '2'),
            (2, 'OrderFilled', 'FILLED', '2', '2', '0')
        ) step
        union all
        values
            (7, 0, 'OrderCreated', null, null, null, null),
            (7, 1, 'OrderAccepted', 'NEW', null, '0', '2'),
            (7, 2, 'OrderCancelRequested', 'NEW', null, '0', '2'),
            (7, 3, 'OrderCanceled', 'CANCELED', null, '0', '0'),
            (8, 0, 'OrderCreated', null, null, null, null),
            (8, 1, 'OrderAccepted', 'NEW', null, '0', '2'),
            (8, 2, 'OrderFilled', 'PARTIALLY_FILLED', '0.5', '0.5', '1.5'),
            (8, 3, 'OrderCancelRequested', 'PARTIALLY_FILLED', null, '0.5', '1.5'),
            (8, 4, 'OrderCanceled', 'CANCELED', null, '0.5', '0'),
            (9, 0, 'OrderCreated', null, null, null, null),
            (9, 1, 'OrderRejected', 'REJECTED', null, '0', '0')
    ),
    moment as (
        select n::bigint as position, n - 1 as account, null::bigint as number, 'OrderBookCreated' as type,
            null::integer as step, null as working_state, null as last_qty, null as cum_qty, null as leaves_qty
        from generate_series(1::bigint, p_accounts) n
        union all
        select
            p_accounts + row_number() over (order by o + p.step * v_pace, o), o * 7919 % p_accounts, o, p.type,
            p.step, p.working_state, p.last_qty, p.cum_qty, p.leaves_qty
        from generate_series(0::bigint, p_events / 3) o
        join path p on p.kind = o % 10
    ),
    -- Sorted while rows are narrow; what is made of them afterwards keeps their order.
    placed as (
        select
            m.*,
            row_number() over (partition by m.account order by m.position) as sequence,
            'trader-' || m.account || '/binance/simulated' as aggregate_id,
            'o-' || m.number as order_id,
            '642' || 10 + m.number % 50 || '.1' as px
        from moment m
        where m.position <= p_events
        order by m.position
        offset 0
    ),
    event as (
        select
            m.position,
            m.aggregate_id,
            m.sequence,
            m.type,
            m.order_id as subject,
            uuidv7(make_interval(secs => (m.position - p_events) * 0.0001)) as command_id,
            (
                case
                    when m.type = 'OrderBookCreated'
                        then format('{"user":"trader-%s","exchange":"binance","broker":"simulated"}', m.account)
                    else format(
                        '{"order_id":"%s","strategy_id":"%s","symbol":"%s","side":"%s"',
                        m.order_id,
                        (array['trend', 'reversion', 'carry'])[m.number % 3 + 1],
                        (array['BTCUSDT', 'ETHUSDT', 'SOLUSDT', 'ADAUSDT', 'XRPUSDT', 'LTCUSDT', 'DOTUSDT'])[m.number % 7 + 1],
                        (array['BUY', 'SELL'])[m.number % 2 + 1]
                    )
                end
                || case
                    when m.type = 'OrderBookCreated' then ''
                    when m.type = 'OrderCreated' then format(
                        ',"order_type":"LIMIT","quantity":"2","limit_price":"%s","time_in_force":"GTC"}', m.px
                    )
                    else format(
                        ',"quantity":"2","limit_price":"%s","working_state":"%s"', m.px, m.working_state
                    )
                    || case when m.type = 'OrderCancelRequested' then ',"pending_request":"CANCEL"' else '' end
                    || case
                        when m.cum_qty <> '0' then format(
                            ',"cum_qty":"%s","cum_cost":"%s","fees":{"USDT":"%s"}',
                            m.cum_qty,
                            trim_scale(m.cum_qty::numeric * m.px::numeric),
                            case when m.step = 3 and m.type = 'OrderFilled' then '0.024' else '0.012' end
                        )
                        else ''
                    end
                    || case when m.leaves_qty <> '0' then format(',"leaves_qty":"%s"', m.leaves_qty) else '' end
                    || case m.type
                        when 'OrderRejected' then ',"reason":"insufficient margin"'
                        else format(',"broker_order_id":"b-%s"', m.order_id)
                    end
                    || case
                        when m.type = 'OrderFilled' then format(
                            ',"exec_id":"e-%s","last_qty":"%s","last_px":"%s","fee":"0.012","fee_currency":"USDT"',
                            m.cum_qty, m.last_qty, m.px
                        )
                        else ''
                    end
                    || '}'
                end
            )::jsonb as payload,
            v_begin + make_interval(secs => m.position * 0.0001) as occurred_at,
            v_begin + make_interval(secs => (m.position - 1) / p_commit_size * p_commit_size * 0.0001) as recorded_at
        from placed m
        offset 0
    )
    insert into eventstore.events
    select
        0, e.position, 'order_book', e.aggregate_id, e.sequence, e.type, 1, e.subject, e.command_id, e.payload, '{}',
        e.occurred_at, e.recorded_at,
        eventstore.event_hash(
            e.position, 'order_book', e.aggregate_id, e.sequence, e.type, 1::smallint, e.subject, e.command_id,
            e.payload, '{}', e.occurred_at
        )
    from event e;

    with command as (
        select
            e.*,
            case e.type
                when 'OrderBookCreated' then 'OpenAccount'
                when 'OrderCreated' then 'PlaceOrder'
                when 'OrderCancelRequested' then 'RequestCancel'
                else 'RecordExecution'
            end as command_type
        from eventstore.events e
    )
    insert into eventstore.commands
    select
        0, c.command_id, c.aggregate_type, c.aggregate_id, c.command_type, uuid_send(c.command_id), null, 'accepted', null, c.position, 1,
        (c.position - 1) / p_commit_size + 1, c.recorded_at,
        eventstore.command_hash(
            c.command_id, c.aggregate_type, c.aggregate_id, c.command_type, uuid_send(c.command_id), null, null,
            c.position, 1
        )
    from command c
    order by c.position;

    for v_commit in
        select
            c."commit" as number,
            min(e.position) as first_position,
            max(e.position) as last_position,
            e.recorded_at,
            string_agg(c.hash || e.hash, '' order by e.position) as row_hashes
        from eventstore.commands c
        join eventstore.events e on e.position = c.first_position
        group by c."commit", e.recorded_at
        order by c."commit"
    loop
        v_previous_hash := v_hash;
        v_hash := eventstore.commit_hash(
            v_previous_hash, 0, v_commit.number, v_commit.first_position, v_commit.last_position, v_commit.recorded_at,
            v_commit.row_hashes
        );
        insert into eventstore.commits
        values (
            0, v_commit.number, v_commit.first_position, v_commit.last_position, v_commit.recorded_at, v_previous_hash,
            v_hash
        );
    end loop;

    foreach v_statement in array v_make loop
        execute v_statement;
    end loop;
end
$$;
