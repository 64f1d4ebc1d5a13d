-- p_doubts: as the events of an order carry them, without what has its default value.
create or replace function trading.doubts_json(p_doubts jsonb)
returns json
language sql
stable
as $$
    select json_agg(
        json_build_object(
            'doubt_id', d.doubt ->> 'doubt_id',
            'request', d.doubt ->> 'request',
            'request_id', d.doubt ->> 'request_id',
            'attempt', coalesce((d.doubt ->> 'attempt')::integer, 1),
            'reason', d.doubt ->> 'reason',
            'since', eventstore.rfc3339((d.doubt ->> 'since')::timestamptz)
        )
        order by d.ordinal
    )
    from jsonb_array_elements(p_doubts) with ordinality d (doubt, ordinal);
$$;
comment on function trading.doubts_json is 'The doubts of an order as HTTP shows them.';
