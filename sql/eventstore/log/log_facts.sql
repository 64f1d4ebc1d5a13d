create or replace function eventstore.log_facts()
returns table (revision text, log_id text, shard_count integer, events bigint)
language sql
stable
begin atomic
    select
        v.version_num::text,
        i.log_id::text,
        i.shard_count,
        (
            select sum((eventstore.head(s.shard)).last_position)::bigint
            from generate_series(0, i.shard_count - 1) s (shard)
        )
    from eventstore.log_info i
    cross join eventstore.alembic_version v;
end;
comment on function eventstore.log_facts() is
    'The revision of the tables, the identity of the log, and the number of events in all its shards.';
