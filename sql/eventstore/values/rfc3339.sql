create or replace function eventstore.rfc3339(p_time timestamptz)
returns text
language sql
stable parallel safe
return to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
comment on function eventstore.rfc3339 is 'A time as HTTP shows it: UTC, microseconds.';
