-- Finds what verify_commits cannot see: rows outside all commits, and readers that have seen more than there is.
create or replace function audit.verify_ends(p_shard integer)
returns table ("position" bigint, "commit" bigint, problem text, detail text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_head eventstore.commits := eventstore.head(p_shard);
begin
    return query
    with finding as (
        (
            select
                e.position,
                null::bigint as number,
                'event-stray' as problem,
                'no commit wrote it' as detail
            from eventstore.events e
            where e.shard = p_shard
                and e.position > v_head.last_position
            order by e.position
            limit 100
        )
        union all
        (
            select
                e.position,
                null,
                'event-stray',
                'no commit wrote it'
            from eventstore.events e
            where e.shard = p_shard
                and e.position < 1
            order by e.position
            limit 100
        )
        union all
        (
            select
                v_head.last_position + 1,
                k."commit",
                'command-stray',
                format('command %s names commit %s, which does not exist', k.command_id, k."commit")
            from eventstore.commands k
            where k.shard = p_shard
                and not k."commit" between 1 and v_head.number
            order by k."commit"
            limit 100
        )
        union all
        (
            select
                c.first_position,
                c.number,
                'commit-stray',
                'commits are numbered from 1'
            from eventstore.commits c
            where c.shard = p_shard
                and c.number < 1
            limit 100
        )
        union all
        select
            v_head.last_position + 1,
            null,
            'tail-missing',
            format('%s has seen position %s', s.name, s.checkpoint)
        from eventstore.subscriptions s
        where s.shard = p_shard
            and s.checkpoint > v_head.last_position
        union all
        (
            select
                e.position,
                null,
                'event-shard',
                format('this log has no shard %s', e.shard)
            from eventstore.events e
            cross join eventstore.log_info i
            where p_shard = 0
                and e.shard not between 0 and i.shard_count - 1
            limit 100
        )
        union all
        (
            select
                v_head.last_position + 1,
                c.number,
                'commit-stray',
                format('this log has no shard %s', c.shard)
            from eventstore.commits c
            cross join eventstore.log_info i
            where p_shard = 0
                and c.shard not between 0 and i.shard_count - 1
            limit 100
        )
        union all
        (
            select
                v_head.last_position + 1,
                k."commit",
                'command-stray',
                format('this log has no shard %s', k.shard)
            from eventstore.commands k
            cross join eventstore.log_info i
            where p_shard = 0
                and k.shard not between 0 and i.shard_count - 1
            limit 100
        )
    )
    select f.*
    from finding f
    order by f.position, f.problem
    limit 100;
end
$$;
comment on function audit.verify_ends is
    'What is wrong before the first and after the last commit of a shard: the first hundred findings.';
