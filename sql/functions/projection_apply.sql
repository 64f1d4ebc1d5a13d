create or replace function eventstore.projection_apply(
    p_copy text, p_projection text, p_shard integer, p_from bigint, p_to bigint, p_is_slice boolean default false
)
returns void
language plpgsql
as $$
declare
    v_schema text := eventstore.projection_schema(p_copy, p_projection);
    v_path text := current_setting('search_path');
    v_head bigint := (eventstore.head(p_shard)).last_position;
    v_planned_for bigint := coalesce(nullif(current_setting('foldbook.planned_for', true), '')::bigint, 0);
    v_is_bulk boolean := p_to - p_from > 2000;
begin
    -- A session keeps its plans. Those made for tables that were all but empty find rows by whatever index comes first,
    -- and would crawl through tables that have grown before they were analyzed.
    if v_is_bulk or v_head not between v_planned_for / 2 and v_planned_for * 2 then
        discard plans;
        perform set_config('foldbook.planned_for', v_head::text, false);
    end if;
    if v_is_bulk then
        perform set_config('work_mem', '64MB', true);
    end if;
    perform set_config(
        'search_path',
        format('%I, %s', v_schema, case when p_is_slice then 'pg_temp' else 'eventstore, pg_temp' end),
        true
    );
    execute format('select %I.%I($1, $2, $3)', v_schema, 'project_' || p_projection)
    using p_shard, p_from, p_to;
    perform set_config('search_path', v_path, true);
end
$$;
comment on function eventstore.projection_apply(text, text, integer, bigint, bigint, boolean) is
    'Folds the positions in (from, to] into one copy of a projection, whose tables and whose log are found by search_path.';
