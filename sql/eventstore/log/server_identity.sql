create or replace function eventstore.server_identity()
returns table (log_id text, shard_count integer, started_at timestamptz, is_in_recovery boolean)
language sql
stable
as $$
    select i.log_id::text, i.shard_count, pg_postmaster_start_time(), pg_is_in_recovery()
    from eventstore.log_info i;
$$;
comment on function eventstore.server_identity is
    'Which log this is, and which run of which server has it: a server that was started again, or another one, has another time.';
