create or replace function audit.events_between(p_from timestamptz, p_to timestamptz)
returns setof eventstore.log
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_shard integer;
    v_after bigint;
    v_to bigint;
begin
    for v_shard in
        select s.shard
        from eventstore.log_info i
        cross join generate_series(0, i.shard_count - 1) as s (shard)
        order by s.shard
    loop
        v_after := coalesce((
            select c.events from audit.checkpoint_at(v_shard, eventstore.commit_at(v_shard, p_from - interval '1 microsecond')) c
        ), 0);
        v_to := coalesce((
            select c.events from audit.checkpoint_at(v_shard, eventstore.commit_at(v_shard, p_to - interval '1 microsecond')) c
        ), 0);
        return query
        select l.*
        from eventstore.log l
        where l.shard = v_shard
            and l.position > v_after
            and l.position <= v_to
        order by l.position;
    end loop;
end
$$;
comment on function audit.events_between is
    'The events recorded from p_from (inclusive) to p_to (exclusive), by the database''s clock, shard by shard, in order.';
