create or replace function eventstore.append(
    p_shard integer,
    -- One element per event, the events of a command side by side, in the order in which they were decided.
    -- A command that produced no event has one element, whose event columns are null.
    p_command_ids uuid[],
    p_aggregate_types text[],
    p_aggregate_ids text[],
    p_command_types text[],
    p_fingerprints bytea[],
    p_expected_sequences bigint[],
    p_absent_subjects text[],
    p_actors text[],
    p_reasons jsonb[],
    p_event_counts integer[],
    p_event_indexes integer[],
    p_event_types text[],
    p_schema_versions smallint[],
    p_subjects text[],
    p_payloads jsonb[],
    p_metadata jsonb[],
    p_occurred_at timestamptz[]
)
returns table (
    verdict text, "position" bigint, sequence bigint, is_same_content boolean, "commit" bigint, hash bytea
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    v_head eventstore.commits;
    v_now timestamptz;
begin
    v_head := eventstore.lock_shard(p_shard);
    v_now := greatest(clock_timestamp(), v_head.recorded_at);

    return query
    with proposed as (
        select
            p.*,
            p.event_type is not null as is_event,
            (
                select c.fingerprint from eventstore.commands c
                where c.shard = p_shard and c.command_id = p.command_id and c.aggregate_id = p.aggregate_id
                    and c.aggregate_type = p.aggregate_type
            ) as known_fingerprint,
            -- not EXISTS: the planner may turn that into a hash of the whole shard
            p.absent_subject is not null and (
                select true from eventstore.events e
                where e.shard = p_shard and e.subject = p.absent_subject and e.aggregate_id = p.aggregate_id
                    and e.aggregate_type = p.aggregate_type
                limit 1
            ) is not null as is_taken,
            coalesce((
                select e.sequence from eventstore.events e
                where e.shard = p_shard and e.aggregate_id = p.aggregate_id and e.aggregate_type = p.aggregate_type
                order by e.sequence desc
                limit 1
            ), 0) as stored_sequence,
            count(p.event_type) over (
                partition by p.aggregate_type, p.aggregate_id
                order by p.ordinal rows between unbounded preceding and 1 preceding
            ) as earlier_events
        from unnest(
            p_command_ids, p_aggregate_types, p_aggregate_ids, p_command_types, p_fingerprints, p_expected_sequences,
            p_absent_subjects, p_actors, p_reasons, p_event_counts, p_event_indexes,
            p_event_types, p_schema_versions, p_subjects, p_payloads, p_metadata, p_occurred_at
        ) with ordinality as p (
            command_id, aggregate_type, aggregate_id, command_type, fingerprint, expected_sequence, absent_subject,
            actor, reason, event_count, event_index,
            event_type, schema_version, subject, payload, metadata, occurred_at, ordinal
        )
    ),
    judged as (
        select
            p.*,
            p.known_fingerprint is null
                and not p.is_taken
                and coalesce(p.expected_sequence + p.event_index = p.stored_sequence + p.earlier_events, true)
                as is_clean
        from proposed p
    ),
    verdict as (
        select
            j.*,
            j.is_clean and (
                j.expected_sequence is null
                -- Whatever was decided after a command that did not go in was decided on a state that never was.
                or coalesce(bool_and(j.is_clean or (j.known_fingerprint is not null and not j.is_event)) over (
                    partition by j.aggregate_type, j.aggregate_id
                    order by j.ordinal rows between unbounded preceding and 1 preceding
                ), true)
            ) as is_appended
        from judged j
    ),
    placed as (
        select
            v.*,
            v_head.last_position
                + count(*) filter (where v.is_appended and v.is_event) over (order by v.ordinal) as position,
            v.stored_sequence
                + count(*) filter (where v.is_appended and v.is_event) over (
                    partition by v.aggregate_type, v.aggregate_id order by v.ordinal
                ) as sequence
        from verdict v
    ),
    sealed as materialized (
        select
            p.*,
            case when p.is_appended and p.is_event then
                eventstore.event_hash(
                    p.position, p.aggregate_type, p.aggregate_id, p.sequence, p.event_type, p.schema_version, p.subject,
                    p.command_id, p.payload, p.metadata, p.occurred_at
                )
            end as event_hash,
            case when p.is_appended and p.event_index = 0 then
                eventstore.command_hash(
                    p.command_id, p.aggregate_type, p.aggregate_id, p.command_type, p.fingerprint, p.actor, p.reason,
                    case when p.is_event then p.position end, p.event_count
                )
            end as command_hash
        from placed p
    ),
    new_event as (
        insert into eventstore.events
        select
            p_shard, p.position, p.aggregate_type, p.aggregate_id, p.sequence, p.event_type, p.schema_version, p.subject,
            p.command_id, p.payload, p.metadata, p.occurred_at, v_now, p.event_hash
        from sealed p
        where p.is_appended and p.is_event
    ),
    new_command as (
        insert into eventstore.commands
        select
            p_shard, p.command_id, p.aggregate_type, p.aggregate_id, p.command_type, p.fingerprint, p.actor,
            case when p.reason is null then 'accepted' else 'refused' end, p.reason,
            case when p.is_event then p.position end, p.event_count, v_head.number + 1, v_now, p.command_hash
        from sealed p
        where p.is_appended and p.event_index = 0
    ),
    new_commit as (
        insert into eventstore.commits
        select
            p_shard, v_head.number + 1, v_head.last_position + 1, max(p.position), v_now, v_head.hash,
            eventstore.commit_hash(
                v_head.hash, p_shard, v_head.number + 1, v_head.last_position + 1, max(p.position), v_now,
                string_agg(
                    coalesce(p.command_hash, '') || coalesce(p.event_hash, ''), ''
                    order by case when p.is_event then p.position end, p.command_id, p.command_hash
                )
            )
        from sealed p
        where p.is_appended
        having count(*) > 0
        returning
            number,
            hash,
            case
                when last_position >= first_position
                    then eventstore.notify('foldbook_log', p_shard || ':' || last_position)
            end
    )
    select
        case
            when p.is_appended then 'appended'
            when p.known_fingerprint is not null then 'duplicate'
            else 'conflict'
        end,
        case when p.is_appended then p.position + greatest(p.event_count - 1, 0) end,
        case when p.is_appended then p.sequence + greatest(p.event_count - 1, 0) else p.stored_sequence end,
        p.known_fingerprint = p.fingerprint,
        case when p.ordinal = 1 then coalesce(n.number, v_head.number) end,
        case when p.ordinal = 1 then coalesce(n.hash, v_head.hash) end
    from sealed p
    left join new_commit n on true
    where p.event_index = 0
    order by p.ordinal;
end
$$;
