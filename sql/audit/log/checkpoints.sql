create or replace function audit.checkpoints()
returns table (log_id uuid, shard integer, commits bigint, events bigint, hash bytea)
language sql
stable
set search_path = pg_catalog, pg_temp
begin atomic
    select
        i.log_id,
        s.shard,
        h.number,
        h.last_position,
        h.hash
    from eventstore.log_info i
    cross join generate_series(0, i.shard_count - 1) as s (shard)
    cross join lateral eventstore.head(s.shard) h
    order by s.shard;
end;
comment on function audit.checkpoints is
    'How far each shard is: the number of its last commit, the number of its events, and the hash that covers all of them.';
