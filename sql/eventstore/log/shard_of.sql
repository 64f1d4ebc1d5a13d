create or replace function eventstore.shard_of(p_aggregate_id text)
returns integer
language sql
stable parallel safe
begin atomic
    select (
        (
            get_byte(digest.bytes, 0)::bigint << 24
            | get_byte(digest.bytes, 1)::bigint << 16
            | get_byte(digest.bytes, 2)::bigint << 8
            | get_byte(digest.bytes, 3)::bigint
        ) % info.shard_count
    )::integer
    from eventstore.log_info info
    cross join (select sha256(convert_to(p_aggregate_id, 'UTF8')) as bytes) digest;
end;
comment on function eventstore.shard_of is
    'The shard of an aggregate: the first four bytes of the SHA-256 of its id, modulo the number of shards.';
