create or replace function eventstore.projection_lock_class()
returns integer
language sql
immutable parallel safe
return 1178553164;
comment on function eventstore.projection_lock_class is
    'The first key of the advisory lock of a reset, rebuild, verification or installation; the second is the hash of the projection''s name.';
