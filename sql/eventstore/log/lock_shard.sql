-- The writer's lock, held until the end of the transaction, so that a shard has one writer at a time; and the shard's head.
-- It is the lock of a row that only the owner may lock: an advisory lock is free to every login. A row that is locked gives
-- the transaction an id and a record in the WAL. So every append waits for a synchronous replica at its commit, also one
-- that writes nothing because its commands are there already: what it answers from may have been committed by a session
-- that ended before the replica had it.
create or replace function eventstore.lock_shard(p_shard integer)
returns eventstore.commits
language plpgsql
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append requires READ COMMITTED: it must see the commit that held the lock before'
            using errcode = 'FB001';
    end if;
    perform from eventstore.shards s where s.shard = p_shard for no key update;
    if not found then
        raise exception 'there is no shard %: the number of shards of this log is %', p_shard,
            (select i.shard_count from eventstore.log_info i)
            using errcode = 'FB016';
    end if;
    return eventstore.head(p_shard);
end
$$;
comment on function eventstore.lock_shard is
    'Takes the writer''s lock of a shard until the transaction ends, and returns the last commit. FB016: the log has no such shard.';
