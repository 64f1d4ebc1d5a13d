create or replace function eventstore.clock_ahead()
returns table (shard integer, ahead_s double precision, until timestamptz)
language sql
stable
as $$
    select
        s.shard,
        extract(epoch from h.recorded_at - clock_timestamp())::double precision,
        h.recorded_at
    from eventstore.log_info i
    cross join lateral generate_series(0, i.shard_count - 1) s (shard)
    cross join lateral eventstore.head(s.shard) h
    where h.recorded_at > clock_timestamp()
    order by s.shard;
$$;
comment on function eventstore.clock_ahead is
    'The shards whose last commit was recorded later than it is now by the server''s clock, by how much, and until when: that clock was ahead and was put back.';
