create or replace function eventstore.stream_start(p_shard integer, p_after bigint default null)
returns table (log_id text, head bigint, after bigint, "commit" bigint, hash text)
language sql
stable
as $$
    select
        i.log_id::text,
        h.last_position,
        a.after,
        coalesce(m.number, 0),
        encode(coalesce(m.hash, sha256(''::bytea)), 'hex')
    from eventstore.log_info i
    cross join eventstore.head(p_shard) h
    cross join lateral (select coalesce(p_after, h.last_position)) a (after)
    left join eventstore.events e on e.shard = p_shard and e.position = a.after
    left join eventstore.commands c
        on c.shard = p_shard
        and c.command_id = e.command_id
        and c.aggregate_id = e.aggregate_id
        and c.aggregate_type = e.aggregate_type
    left join eventstore.commits m on m.shard = p_shard and m.number = c."commit";
$$;
comment on function eventstore.stream_start is
    'Which log it is that is read after a position, or after its head: its id, and the commit that wrote the position, with its hash; commit 0 for position 0.';
