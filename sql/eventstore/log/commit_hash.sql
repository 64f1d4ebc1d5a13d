create or replace function eventstore.commit_hash(
    p_previous_hash bytea, p_shard integer, p_number bigint, p_first_position bigint, p_last_position bigint,
    p_recorded_at timestamptz, p_row_hashes bytea
)
returns bytea
language sql
stable parallel safe
return sha256(record_send(row(
    p_previous_hash, p_shard, p_number, p_first_position, p_last_position, p_recorded_at, p_row_hashes
)));
comment on function eventstore.commit_hash is
    'SHA-256 over a commit and the commit before it. p_row_hashes: each command''s and then its events'', by position; then those of commands without events, by id.';
