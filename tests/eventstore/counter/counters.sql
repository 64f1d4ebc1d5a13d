-- Aggregate types: counter
-- Folds: Added
-- Ignores: nothing
create table counters (
    shard integer not null,
    counter_id text not null,
    total bigint not null,
    primary key (counter_id)
);

create function project_counters(p_shard integer, p_from bigint, p_to bigint)
returns void
language sql
as $$
    insert into counters
    select distinct on (e.aggregate_id) p_shard, e.aggregate_id, (e.payload ->> 'total')::bigint
    from log e
    where e.shard = p_shard and e.position > p_from and e.position <= p_to and e.type = 'Added'
    order by e.aggregate_id, e.position desc
    on conflict (counter_id) do update set total = excluded.total;
$$;
