create or replace function eventstore.projection_apply(
    p_copy text, p_projection text, p_shard integer, p_from bigint, p_to bigint, p_run bigint default null
)
returns void
language plpgsql
as $$
declare
    v_schema text := eventstore.projection_schema(p_copy, p_projection);
    v_project text := format('select %I.%I($1, $2, $3)', v_schema, 'project_' || p_projection);
    v_path text := current_setting('search_path');
    v_head bigint := (eventstore.head(p_shard)).last_position;
    v_planned_for bigint := coalesce(nullif(current_setting('foldbook.planned_for', true), '')::bigint, 0);
    v_is_bulk boolean := p_to - p_from > 2000;
    v_done bigint := p_from;
    v_letter record;
begin
    -- A session keeps its plans. Plans made while the tables were almost empty use an arbitrary index, and would be very
    -- slow on tables that have grown since and have not been analyzed.
    if v_is_bulk or v_head not between v_planned_for / 2 and v_planned_for * 2 then
        discard plans;
        perform set_config('foldbook.planned_for', v_head::text, false);
    end if;
    if v_is_bulk then
        perform set_config('work_mem', '64MB', true);
    end if;
    perform set_config(
        'search_path',
        case
            when p_copy = 'live' then format('read, %I, pg_temp', eventstore.projection_schema('input', p_projection))
            else format('%I, pg_temp', v_schema)
        end,
        true
    );

    for v_letter in
        select
            d.position,
            bool_or(d.definition_hash = s.definition_hash) as holds
        from eventstore.dead_letters d
        join eventstore.subscriptions s
            on s.shard = d.shard
            and s.name = eventstore.projection_subscription(p_copy, p_projection)
        where d.shard = p_shard
            and d.subscription = p_projection
            and d.position > p_from
            and d.position <= p_to
        group by d.position
        order by d.position
    loop
        if v_letter.position - 1 > v_done then
            execute v_project using p_shard, v_done, v_letter.position - 1;
        end if;
        if not v_letter.holds then
            perform eventstore.projection_retry(p_copy, p_projection, p_shard, v_letter.position, v_project);
        end if;
        v_done := v_letter.position;
    end loop;
    if p_to > v_done then
        execute v_project using p_shard, v_done, p_to;
    end if;
    perform set_config('search_path', v_path, true);
    if p_run is not null then
        perform eventstore.projection_check_run(p_projection, p_run);
    end if;
end
$$;
comment on function eventstore.projection_apply(text, text, integer, bigint, bigint, bigint) is
    'Folds the positions in (from, to] into one copy of a projection. search_path finds its tables and its log. Events to be skipped are not folded. With p_run: FB021 if that run has lost its turn.';
