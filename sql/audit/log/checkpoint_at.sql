create or replace function audit.checkpoint_at(p_shard integer, p_commit bigint)
returns table (events bigint, hash bytea)
language sql
stable
set search_path = pg_catalog, pg_temp
begin atomic
    select
        c.last_position,
        c.hash
    from eventstore.commits c
    where c.shard = p_shard
        and c.number = p_commit;
end;
comment on function audit.checkpoint_at is 'How far a shard was after a commit. No row: it has no such commit.';
