create or replace function brokers.query_doubts(p_account text, p_limit integer)
returns json
language plpgsql
stable
as $$
begin
    return (
        select json_build_object(
            'doubts', coalesce(json_agg(d.doubt order by d.created_position, d.ordinal), '[]')
        )
        from (
            select
                o.created_position,
                e.ordinal,
                json_build_object(
                    'id', e.doubt ->> 'doubt_id',
                    'account', o.account,
                    'order_id', o.order_id,
                    'symbol', o.symbol,
                    'side', o.side,
                    'request', e.doubt ->> 'request',
                    'request_id', e.doubt ->> 'request_id',
                    'attempt', coalesce((e.doubt ->> 'attempt')::integer, 1),
                    'reason', e.doubt ->> 'reason',
                    'since', eventstore.rfc3339((e.doubt ->> 'since')::timestamptz),
                    'status', trading.order_status(o.working_state, o.pending_request)
                ) as doubt
            from read.orders o
            cross join lateral jsonb_array_elements(o.doubts) with ordinality e (doubt, ordinal)
            where o.doubts is not null
                and (p_account is null or o.account = p_account)
            order by o.created_position, e.ordinal
            limit p_limit
        ) d
    );
end
$$;
comment on function brokers.query_doubts is
    'The requests to brokers of which nobody knows what became of them, the oldest orders first, of one account or of all.';
