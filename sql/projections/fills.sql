-- Every fill, one row per OrderFilled: by account, strategy and symbol.

create table fills (
    shard integer not null,
    position bigint not null,
    account text not null,
    order_id text not null,
    strategy_id text not null,
    symbol text not null,
    side text not null,
    exec_id text not null,
    last_qty numeric not null,
    last_px numeric not null,
    fee numeric,
    fee_currency text,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    primary key (shard, position)
);

create index fills_by_account on fills (account, shard, position);
create index fills_by_strategy on fills (strategy_id, shard, position);
create index fills_by_symbol on fills (symbol, shard, position);

comment on table fills is 'Fills in the order of the log. Disposable: `foldbook projections rebuild fills`.';
comment on column fills.position is 'Position of the OrderFilled.';
comment on column fills.exec_id is 'The broker''s name for the fill.';
comment on column fills.fee is 'What the broker charged, in fee_currency; negative for a rebate.';
comment on column fills.occurred_at is 'Business time: the venue''s clock.';

create function project_fills(p_shard integer, p_from bigint, p_to bigint)
returns void
language plpgsql
set plan_cache_mode = force_generic_plan
-- A plan made while the log is small would scan it for ever after.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    insert into fills
    select
        e.shard,
        e.position,
        e.aggregate_id,
        e.subject,
        e.payload ->> 'strategy_id',
        e.payload ->> 'symbol',
        e.payload ->> 'side',
        e.payload ->> 'exec_id',
        (e.payload ->> 'last_qty')::numeric,
        (e.payload ->> 'last_px')::numeric,
        (e.payload ->> 'fee')::numeric,
        e.payload ->> 'fee_currency',
        e.occurred_at,
        e.recorded_at
    from log e
    where e.shard = p_shard
        and e.position > p_from
        and e.position <= p_to
        and e.type = 'OrderFilled'
    order by e.position;
end
$$;
