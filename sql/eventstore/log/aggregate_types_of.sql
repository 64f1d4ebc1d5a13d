create or replace function eventstore.aggregate_types_of(p_shard integer, p_aggregate_id text)
returns setof text
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_type text := '';
begin
    -- Skips from one type to the next in the index: there are few types, and there may be very many events of each.
    loop
        v_type := (
            select e.aggregate_type
            from eventstore.events e
            where e.shard = p_shard and e.aggregate_id = p_aggregate_id and e.aggregate_type > v_type
            order by e.aggregate_type
            limit 1
        );
        exit when v_type is null;
        return next v_type;
    end loop;
end
$$;
comment on function eventstore.aggregate_types_of is
    'The types of the aggregates that have this id; aggregates of different types may share an id.';
