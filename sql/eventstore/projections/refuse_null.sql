create or replace function eventstore.refuse_null(p_shard integer, p_position bigint, p_type text)
returns boolean
language plpgsql
stable parallel safe
as $$
begin
    raise exception 'the payload of the event at position % of shard % is null: an upcaster of % returned nothing',
        p_position, p_shard, p_type
        using errcode = 'FB031';
end
$$;
comment on function eventstore.refuse_null is 'Refuses an event of which an upcaster has left nothing.';
