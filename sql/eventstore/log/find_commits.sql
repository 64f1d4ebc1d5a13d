-- What a process remembers of a log that may be another one since: after a failover, a restore, or in another database.
create or replace function eventstore.find_commits(p_shard integer, p_numbers bigint[], p_hashes bytea[])
returns table (number bigint, is_there boolean)
language sql
stable
set enable_seqscan = off
as $$
    select
        r.number,
        r.number = 0 or (
            select c.hash = r.hash from eventstore.commits c where c.shard = p_shard and c.number = r.number limit 1
        ) is true
    from unnest(p_numbers, p_hashes) as r (number, hash)
    order by r.number;
$$;
comment on function eventstore.find_commits is
    'Which of these commits, each remembered with its hash, the log has. If it has one, it has all before it.';
