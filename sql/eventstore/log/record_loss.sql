-- Bounded: the oldest go.
create or replace function eventstore.record_loss(
    p_shard integer, p_after_position bigint, p_last_position bigint, p_commit bigint, p_hash bytea, p_process text
)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from eventstore.losses l where l.number <= (select max(m.number) from eventstore.losses m) - 1000;
    insert into eventstore.losses (shard, after_position, last_position, "commit", hash, process)
    values (p_shard, p_after_position, p_last_position, p_commit, p_hash, left(p_process, 200))
    on conflict do nothing;
$$;
comment on function eventstore.record_loss is
    'Keeps what a process saw and the log does not have: the positions after p_after_position, up to p_last_position.';
