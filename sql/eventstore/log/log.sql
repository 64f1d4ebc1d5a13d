-- The view that every reader uses: the events in the shape they have today. The stored rows never change.
--
-- Its payload column runs the chain of upcasters. An upcaster is a function `upcast."<event type>_<n>"(payload jsonb)
-- returns jsonb`, from schema_version n to n + 1 (sql/upcasters/, one file each); the catalog is their registry, and the
-- chain is written out here, so that an event of today's shape costs nothing and the functions are inlined.
do $do$
declare
    v_payload text;
    v_schema_version text;
begin
    if exists (
        select
        from eventstore.upcaster_chain() c
        where c.versions <> (select array_agg(n) from generate_series(1, cardinality(c.versions)) n)
    ) then
        raise exception 'an upcaster is missing: each event type needs one for every version, beginning with 1'
            using errcode = 'FB002';
    end if;

    select
        string_agg(
            format('when e.type = %L and e.schema_version = %s then %s', c.event_type, v.version, v.upcast), E'\n        '
            order by c.event_type, v.version
        ),
        string_agg(
            format('when e.type = %L then greatest(e.schema_version, %s::smallint)', c.event_type, cardinality(c.versions) + 1),
            E'\n        '
            order by c.event_type
        ) filter (where v.version = 1)
    into v_payload, v_schema_version
    from eventstore.upcaster_chain() c
    cross join lateral (
        select
            first.version,
            string_agg(format('upcast.%I(', c.event_type || '_' || step), '' order by step desc) || 'e.payload'
                || repeat(')', count(*)::integer) as upcast
        from unnest(c.versions) as first (version)
        cross join lateral generate_series(first.version, cardinality(c.versions)) step
        group by first.version
    ) v;

    execute format(
        $view$
        create or replace view eventstore.log as
        select
            e.shard,
            e.position,
            e.aggregate_type,
            e.aggregate_id,
            e.sequence,
            e.type,
            %s as schema_version,
            e.subject,
            e.command_id,
            %s as payload,
            e.metadata,
            e.occurred_at,
            e.recorded_at
        from eventstore.events e
        $view$,
        coalesce('case ' || v_schema_version || ' else e.schema_version end', 'e.schema_version'),
        coalesce('case ' || v_payload || ' else e.payload end', 'e.payload')
    );
end
$do$;
comment on view eventstore.log is
    'The events in the shape they have today, for every reader. The stored rows never change.';
