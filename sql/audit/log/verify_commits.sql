-- Verifies a run of commits of one shard, independently of the rest of the log: a commit depends only on the row of the
-- commit before it. Every row is hashed again and compared with the hash that it carries; every commit is hashed again
-- over the hashes that its rows carry. So a changed row is found by its own hash. A row that was changed together with its
-- hash, or that was removed, is found by its commit's hash.
create or replace function audit.verify_commits(p_shard integer, p_from bigint, p_to bigint)
returns table ("position" bigint, "commit" bigint, problem text, detail text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_nestloop = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
begin
    return query
    with linked as materialized (
        select
            c.*,
            lag(c.number) over by_number as previous_number,
            lag(c.last_position) over by_number as previous_position,
            lag(c.recorded_at) over by_number as previously_recorded_at,
            lag(c.hash) over by_number as expected_previous_hash
        from (
            select k.* from eventstore.commits k where k.shard = p_shard and k.number between p_from - 1 and p_to
            union all
            select p_shard, 0, 1, 0, '-infinity', '', sha256('') where p_from = 1
        ) c
        window by_number as (order by c.number)
    ),
    commit as materialized (
        select l.*
        from linked l
        where l.number >= p_from
    ),
    event as materialized (
        select
            c.number,
            c.recorded_at as committed_at,
            e.position,
            e.aggregate_type,
            e.aggregate_id,
            e.sequence,
            e.command_id,
            e.recorded_at,
            e.hash,
            eventstore.event_hash(
                e.position, e.aggregate_type, e.aggregate_id, e.sequence, e.type, e.schema_version, e.subject,
                e.command_id, e.payload, e.metadata, e.occurred_at
            ) as computed_hash
        from commit c
        cross join lateral (
            select e.*
            from eventstore.events e
            where e.shard = p_shard
                and e.position between c.first_position and c.last_position
        ) e
    ),
    command as materialized (
        select
            k."commit",
            k.command_id,
            k.aggregate_type,
            k.aggregate_id,
            k.first_position,
            k.event_count,
            k.recorded_at,
            k.outcome = case when k.reason is null then 'accepted' else 'refused' end as is_outcome_right,
            k.hash,
            eventstore.command_hash(
                k.command_id, k.aggregate_type, k.aggregate_id, k.type, k.fingerprint, k.actor, k.reason, k.first_position,
                k.event_count
            ) as computed_hash
        from eventstore.commands k
        where k.shard = p_shard
            and k."commit" between p_from and p_to
    ),
    row_hash as (
        select
            k."commit" as number,
            k.first_position as position,
            k.command_id,
            k.hash
        from command k
        union all
        select
            e.number,
            e.position,
            null,
            e.hash
        from event e
    ),
    -- A command comes before its first event, which has the same position but no id here; commands without events are last.
    seal as (
        select
            r.number,
            count(*) filter (where r.command_id is null) as event_count,
            string_agg(r.hash, '' order by r.position, r.command_id, r.hash) as hashes
        from row_hash r
        group by r.number
    ),
    run as (
        select
            k."commit" as number,
            sum(k.event_count) as event_count
        from command k
        group by k."commit"
    ),
    checked as (
        select
            c.*,
            coalesce(s.event_count, 0) as events_found,
            coalesce(r.event_count, 0) as events_commanded,
            eventstore.commit_hash(
                c.previous_hash, p_shard, c.number, c.first_position, c.last_position, c.recorded_at, s.hashes
            ) as computed_hash
        from commit c
        left join seal s on s.number = c.number
        left join run r on r.number = c.number
    ),
    -- The previous event of the same aggregate: in this run of commits, or looked up by its key.
    sequenced as (
        select
            e.position,
            e.number,
            e.aggregate_type,
            e.aggregate_id,
            e.sequence,
            lag(e.sequence) over (partition by e.aggregate_type, e.aggregate_id order by e.position) as previous_sequence
        from event e
    ),
    finding (position, number, problem, detail) as materialized (
        select
            c.previous_position + 1,
            c.previous_number + 1,
            'commit-missing',
            format('commits %s to %s are missing', c.previous_number + 1, c.number - 1)
        from checked c
        where c.number > c.previous_number + 1
        union all
        select
            coalesce(max(l.last_position), 0) + 1,
            coalesce(max(l.number), p_from - 1) + 1,
            'commit-missing',
            format('commits %s to %s are missing', coalesce(max(l.number), p_from - 1) + 1, p_to)
        from linked l
        having coalesce(max(l.number), p_from - 1) < p_to
        union all
        select
            least(c.first_position, c.previous_position + 1),
            c.number,
            'commit-run',
            format('positions %s to %s do not follow %s', c.first_position, c.last_position, c.previous_position)
        from checked c
        where c.number = c.previous_number + 1
            and (c.first_position <> c.previous_position + 1 or c.last_position < c.first_position - 1)
        union all
        select
            c.previous_position + 1,
            c.number,
            'commit-order',
            'recorded before the commit that precedes it'
        from checked c
        where c.recorded_at < c.previously_recorded_at
        union all
        -- This commit still matches what it once followed: the commit before it, or an earlier one, was rewritten.
        select
            (select p.first_position from linked p where p.number = c.previous_number),
            c.previous_number,
            'commit-rewritten',
            format('commit %s was sealed after a different commit %s', c.number, c.previous_number)
        from checked c
        where c.number = c.previous_number + 1
            and c.previous_hash is distinct from c.expected_previous_hash
            and c.hash = c.computed_hash
        union all
        select
            (
                select coalesce(min(o.expected) filter (where o.position <> o.expected), c.first_position + count(*))
                from (
                    select
                        e.position,
                        c.first_position - 1 + row_number() over (order by e.position) as expected
                    from event e
                    where e.number = c.number
                ) o
            ),
            c.number,
            'event-missing',
            format(
                '%s of its %s events are missing', c.last_position - c.first_position + 1 - c.events_found,
                c.last_position - c.first_position + 1
            )
        from checked c
        where c.events_found < c.last_position - c.first_position + 1
        union all
        select
            e.position,
            e.number,
            'event-changed',
            'it does not match its hash'
        from event e
        where e.hash is distinct from e.computed_hash
        union all
        select
            e.position,
            e.number,
            'event-date',
            'recorded at a different time than its commit'
        from event e
        where e.recorded_at is distinct from e.committed_at
        union all
        select
            e.position,
            e.number,
            'event-command',
            format('no command %s of this commit has an event here', e.command_id)
        from event e
        left join command k
            on k.command_id = e.command_id
            and k."commit" = e.number
            and k.aggregate_id = e.aggregate_id
            and k.aggregate_type = e.aggregate_type
            and e.position >= k.first_position
            and e.position < k.first_position + k.event_count
        where k.command_id is null
        union all
        select
            s.position,
            s.number,
            'event-sequence',
            format('sequence %s of %s does not follow %s', s.sequence, s.aggregate_id, s.previous_sequence)
        from sequenced s
        where s.previous_sequence is not null
            and s.sequence <> s.previous_sequence + 1
        union all
        select
            s.position,
            s.number,
            'event-sequence',
            format('no event before it has sequence %s of %s', s.sequence - 1, s.aggregate_id)
        from sequenced s
        where s.previous_sequence is null
            and s.sequence <> 1
            and coalesce((
                select e.position
                from eventstore.events e
                where e.shard = p_shard
                    and e.aggregate_id = s.aggregate_id
                    and e.aggregate_type = s.aggregate_type
                    and e.sequence = s.sequence - 1
                limit 1
            ), s.position) >= s.position
        union all
        select
            s.position,
            s.number,
            'event-shard',
            format('%s belongs to shard %s', s.aggregate_id, eventstore.shard_of(s.aggregate_id))
        from sequenced s
        where s.sequence = 1
            and eventstore.shard_of(s.aggregate_id) <> p_shard
        union all
        select
            coalesce(k.first_position, c.first_position),
            k."commit",
            'command-changed',
            format('command %s does not match its hash', k.command_id)
        from command k
        join commit c on c.number = k."commit"
        where k.hash is distinct from k.computed_hash
            or k.recorded_at is distinct from c.recorded_at
            or k.is_outcome_right is not true
    )
    select f.*
    from finding f
    union all
    -- Only if no finding about one of its rows says more.
    select
        c.first_position,
        c.number,
        case when c.hash is distinct from c.computed_hash then 'commit-hash' else 'command-count' end,
        format(
            'the commit, its commands (of %s events) or its events at positions %s to %s were changed',
            c.events_commanded, c.first_position, c.last_position
        )
    from checked c
    where (c.hash is distinct from c.computed_hash or c.events_commanded <> c.events_found)
        and not exists (select from finding f where f.number = c.number and f.problem <> 'commit-rewritten')
    order by 1, 2, 3
    limit 100;
end
$$;
comment on function audit.verify_commits is
    'What is wrong with the commits from p_from to p_to: the first hundred findings, in the order of the log. No row: all is well.';
