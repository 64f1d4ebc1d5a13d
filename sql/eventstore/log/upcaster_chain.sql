create or replace function eventstore.upcaster_chain()
returns table (event_type text, versions integer[])
language sql
stable
as $$
    select
        regexp_replace(p.proname, '_\d+$', ''),
        array_agg(substring(p.proname from '_(\d+)$')::integer order by substring(p.proname from '_(\d+)$')::integer)
    from pg_proc p
    where p.pronamespace = to_regnamespace('upcast')
        and p.proname ~ '_\d+$'
    group by 1
$$;
comment on function eventstore.upcaster_chain is
    'The event types whose shape has changed, each with the versions that have an upcaster.';
