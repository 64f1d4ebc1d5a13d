-- The writer's lock, held until the end of the transaction, so that a shard has one writer at a time; and the shard's head.
create or replace function eventstore.lock_shard(p_shard integer)
returns eventstore.commits
language plpgsql
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append requires READ COMMITTED: it must see the commit that held the lock before'
            using errcode = 'FB001';
    end if;
    perform pg_advisory_xact_lock(eventstore.append_lock_class(), p_shard);
    return eventstore.head(p_shard);
end
$$;
comment on function eventstore.lock_shard is
    'Takes the writer''s lock of a shard until the transaction ends, and returns the last commit.';
