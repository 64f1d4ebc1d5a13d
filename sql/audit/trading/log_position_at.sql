create or replace function audit.log_position_at(p_account text, p_time timestamptz)
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
begin atomic
    select eventstore.position_at(eventstore.shard_of(p_account), p_time);
end;
comment on function audit.log_position_at is
    'The last log position in an account''s shard that was recorded up to a time, by the database''s clock; 0 if there was none yet.';
