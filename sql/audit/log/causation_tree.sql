create or replace function audit.causation_tree(p_command_id uuid)
returns table (
    depth integer, command_id uuid, caused_by text, aggregate_type text, aggregate_id text, type text, actor text, recorded_at timestamptz,
    first_position bigint, events text[], is_asked boolean
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with recursive caused as materialized (
        select distinct
            e.command_id,
            e.metadata ->> 'causation_id' as caused_by
        from eventstore.events e
        where e.metadata ? 'causation_id'
    ),
    ancestor (command_id, height) as (
        select
            p_command_id,
            0
        union
        select
            c.command_id,
            a.height + 1
        from ancestor a
        join caused e on e.command_id = a.command_id
        join eventstore.commands c on c.command_id::text = e.caused_by
        where a.height < 100
    ),
    root as (
        select a.command_id
        from ancestor a
        order by a.height desc
        limit 1
    ),
    descendant (command_id, caused_by, depth) as (
        select
            r.command_id,
            (select e.caused_by from caused e where e.command_id = r.command_id limit 1),
            0
        from root r
        union all
        select
            e.command_id,
            e.caused_by,
            d.depth + 1
        from descendant d
        join caused e on e.caused_by = d.command_id::text
        where d.depth < 100
    ) search depth first by command_id set path
    select
        d.depth,
        d.command_id,
        d.caused_by,
        l.aggregate_type,
        l.aggregate_id,
        l.type,
        l.actor,
        l.recorded_at,
        l.first_position,
        l.events,
        d.command_id = p_command_id
    from descendant d
    left join audit.command_log l on l.command_id = d.command_id
    -- A cause may be outside the log. An id that is neither in the log nor the cause of anything in it has no tree.
    where l.command_id is not null
        or exists (select from caused e where e.caused_by = d.command_id::text)
    order by d.path;
end
$$;
comment on function audit.causation_tree is
    'What led to a command, and everything that it and its causes led to, as a tree, depth first. No row: the command is not in the log. Reads the whole log once.';
