create or replace function eventstore.upcaster_chain()
returns table (event_type text, versions integer[])
language sql
stable
as $$
    select
        regexp_replace(p.proname, '_[0-9]+$', ''),
        array_agg(substring(p.proname from '_([0-9]+)$')::integer order by substring(p.proname from '_([0-9]+)$')::integer)
    from pg_proc p
    where p.pronamespace = to_regnamespace('upcast')
        and p.proname ~ '_[0-9]+$'
    group by 1
$$;
comment on function eventstore.upcaster_chain is
    'The event types whose shape has changed, each with the versions that have an upcaster.';
