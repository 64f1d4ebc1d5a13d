create or replace function access.query_keys(p_shard integer, p_after bigint, p_limit integer)
returns table ("position" bigint, document json)
language sql
stable
as $$
    with issued as materialized (
        select l.sequence, l.position, l.payload, l.recorded_at, l.metadata ->> 'actor' as issued_by
        from eventstore.log l
        where l.shard = p_shard and l.aggregate_id = 'keys' and l.aggregate_type = 'access'
            and l.sequence > p_after and l.type = 'KeyIssued'
        order by l.sequence
        limit p_limit + 1
    ),
    key as (
        select
            i.sequence,
            json_build_object(
                'id', i.payload ->> 'key_id',
                'name', i.payload ->> 'name',
                'roles', i.payload -> 'roles',
                'accounts', i.payload -> 'accounts',
                'expires_at', eventstore.rfc3339((i.payload ->> 'expires_at')::timestamptz),
                'issued_at', eventstore.rfc3339(i.recorded_at),
                'issued_by', i.issued_by,
                'revoked_at', eventstore.rfc3339(r.recorded_at),
                'revoked_by', r.revoked_by,
                'reason', r.reason
            ) as document
        from issued i
        left join lateral (
            select l.recorded_at, l.metadata ->> 'actor' as revoked_by, l.payload ->> 'reason' as reason
            from eventstore.log l
            where l.shard = p_shard and l.subject = i.payload ->> 'key_id' and l.aggregate_type = 'access'
                and l.type = 'KeyRevoked' and l.position > i.position
            order by l.position
            limit 1
        ) r on true
    )
    select
        (eventstore.head(p_shard)).last_position,
        eventstore.page(
            'keys', array_agg(k.document order by k.sequence), array_agg(k.sequence order by k.sequence), p_limit
        )
    from key k
$$;
comment on function access.query_keys is
    'A page of the keys that were ever issued, in order, without their digests; next is the sequence of an event.';
