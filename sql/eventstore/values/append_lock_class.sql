create or replace function eventstore.append_lock_class()
returns integer
language sql
immutable parallel safe
return 1178553163;
comment on function eventstore.append_lock_class is
    'The first key of the advisory lock that append holds until its commit is visible; the second is the shard.';
