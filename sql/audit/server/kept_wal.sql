create or replace function audit.kept_wal()
returns table (slot name, is_active boolean, is_logical boolean, kept_bytes bigint, is_bounded boolean)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select
        s.slot_name,
        s.active,
        s.slot_type = 'logical',
        pg_wal_lsn_diff(
            case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, s.restart_lsn
        )::bigint,
        current_setting('max_slot_wal_keep_size') <> '-1'
    from pg_replication_slots s
    where s.restart_lsn is not null;
$$;
comment on function audit.kept_wal is
    'The replication slots, and how many bytes of WAL the server keeps for each; without a bound until the disk is full.';
