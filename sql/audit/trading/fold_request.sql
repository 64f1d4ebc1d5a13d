create or replace function audit.fold_request(p_requests jsonb, p_type text, p_payload jsonb)
returns jsonb
language plpgsql
immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_kind text := case when p_type like 'OrderCancel%' then 'CANCEL' else 'REPLACE' end;
    v_request_id text := p_payload ->> 'request_id';
    v_place integer;
begin
    if p_type in ('OrderCancelRequested', 'OrderReplaceRequested') then
        -- An event about a cancel carries the terms of the replace that is pending beside it.
        return p_requests || jsonb_build_object(
            'kind', v_kind,
            'request_id', v_request_id,
            'quantity', case v_kind when 'REPLACE' then p_payload -> 'requested_quantity' end,
            'limit_price', case v_kind when 'REPLACE' then p_payload -> 'requested_limit_price' end,
            'stop_price', case v_kind when 'REPLACE' then p_payload -> 'requested_stop_price' end,
            'is_acknowledged', false
        );
    end if;
    if p_type in ('OrderCancelPending', 'OrderReplacePending') then
        -- Acknowledges the named request, or the oldest that was not acknowledged; if there is none, it was made
        -- elsewhere.
        select min(r.ordinal) - 1
        into v_place
        from jsonb_array_elements(p_requests) with ordinality r (request, ordinal)
        where r.request ->> 'kind' = v_kind
            and (v_request_id is null or r.request ->> 'request_id' = v_request_id)
            and not (r.request ->> 'is_acknowledged')::boolean;
        if v_place is null then
            return p_requests || jsonb_build_object(
                'kind', v_kind, 'request_id', v_request_id, 'is_acknowledged', true
            );
        end if;
        return jsonb_set(p_requests, array[v_place::text, 'is_acknowledged'], 'true');
    end if;
    if p_type in ('OrderCancelRejected', 'OrderReplaceRejected', 'OrderReplaced') then
        -- Answers the named request, or the oldest.
        return (
            select coalesce(jsonb_agg(r.request order by r.ordinal), '[]')
            from (
                select
                    m.request,
                    m.ordinal,
                    m.is_meant,
                    row_number() over (partition by m.is_meant order by m.ordinal) as place
                from (
                    select
                        e.request,
                        e.ordinal,
                        e.request ->> 'kind' = v_kind
                        and coalesce(e.request ->> 'request_id' = v_request_id, v_request_id is null) as is_meant
                    from jsonb_array_elements(p_requests) with ordinality e (request, ordinal)
                ) m
            ) r
            where not r.is_meant
                or r.place > coalesce((p_payload ->> 'answered_requests')::integer, 1)
        );
    end if;
    return p_requests;
end
$$;
comment on function audit.fold_request is
    'The requests about an order that the broker has not answered, oldest first, after one more event. The step of outstanding_requests.';
