-- Does what an append does, but writes nothing to the log: it takes the writer's lock, writes to the WAL, and its commit
-- waits for the disk, and for the replicas that commits wait for.
create or replace function eventstore.prove_writable(p_shard integer, p_patience_ms integer)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_is_in_recovery() or current_setting('transaction_read_only')::boolean then
        raise exception 'the database is read-only' using
            errcode = 'FB023',
            detail = case
                when pg_is_in_recovery() then 'The server is a replica.'
                else 'A setting of the server, of the database or of the login makes its sessions read-only.'
            end;
    end if;
    perform set_config('lock_timeout', p_patience_ms::text, true);
    perform pg_logical_emit_message(true, 'foldbook', '');
    return (eventstore.lock_shard(p_shard)).number;
end
$$;
comment on function eventstore.prove_writable is
    'Proves that an append to a shard can succeed now; returns the number of the last commit. FB023: the database is read-only; lock_not_available: another session has held the writer''s lock for so long.';
