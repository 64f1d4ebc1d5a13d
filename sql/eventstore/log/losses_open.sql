create or replace function eventstore.losses_open()
returns table (
    number bigint, shard integer, after_position bigint, last_position bigint, process text, found_at timestamptz
)
language sql
stable
as $$
    select l.number, l.shard, l.after_position, l.last_position, l.process, l.found_at
    from eventstore.losses l
    where l.settled_at is null
    order by l.number;
$$;
comment on function eventstore.losses_open is 'What processes saw and the log does not have, until it is settled.';
