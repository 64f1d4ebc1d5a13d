-- One command with one event, the whole of a batch: what a caller sends who waits for each answer. The rules are those of
-- append. Only the plain case is done here, by plain statements, whose executors start at a fraction of the cost of the
-- one statement for many; whatever is not plain (a duplicate, a conflict) is handed to append, which judges it.
create or replace function eventstore.append_one(
    p_shard integer,
    p_command_id uuid,
    p_aggregate_type text,
    p_aggregate_id text,
    p_command_type text,
    p_fingerprint bytea,
    p_expected_sequence bigint,
    p_absent_subject text,
    p_actor text,
    p_event_type text,
    p_schema_version smallint,
    p_subject text,
    p_payload jsonb,
    p_metadata jsonb,
    p_occurred_at timestamptz
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
    v_number bigint;
    v_position bigint;
    v_sequence bigint;
    v_is_plain boolean;
    v_event_hash bytea;
    v_command_hash bytea;
    v_hash bytea;
begin
    v_head := eventstore.lock_shard(p_shard);

    select
        coalesce(s.stored_sequence, 0) + 1,
        coalesce(p_expected_sequence = coalesce(s.stored_sequence, 0), true)
            and (
                select true from eventstore.commands c
                where c.shard = p_shard and c.command_id = p_command_id and c.aggregate_id = p_aggregate_id
                    and c.aggregate_type = p_aggregate_type
            ) is null
            and (
                p_absent_subject is null
                or (
                    select true from eventstore.events e
                    where e.shard = p_shard and e.subject = p_absent_subject and e.aggregate_id = p_aggregate_id
                        and e.aggregate_type = p_aggregate_type
                    limit 1
                ) is null
            )
    into v_sequence, v_is_plain
    from (
        select (
            select e.sequence from eventstore.events e
            where e.shard = p_shard and e.aggregate_id = p_aggregate_id and e.aggregate_type = p_aggregate_type
            order by e.sequence desc
            limit 1
        ) as stored_sequence
        offset 0
    ) s;

    if not v_is_plain then
        return query
        select *
        from eventstore.append(
            p_shard, array[p_command_id], array[p_aggregate_type], array[p_aggregate_id], array[p_command_type],
            array[p_fingerprint], array[p_expected_sequence], array[p_absent_subject], array[p_actor],
            array[null::jsonb], array[1], array[0], array[p_event_type], array[p_schema_version], array[p_subject],
            array[p_payload], array[p_metadata], array[p_occurred_at]
        );
        return;
    end if;

    v_now := greatest(clock_timestamp(), v_head.recorded_at);
    v_number := v_head.number + 1;
    v_position := v_head.last_position + 1;
    v_event_hash := eventstore.event_hash(
        v_position, p_aggregate_type, p_aggregate_id, v_sequence, p_event_type, p_schema_version, p_subject,
        p_command_id, p_payload, p_metadata, p_occurred_at
    );
    v_command_hash := eventstore.command_hash(
        p_command_id, p_aggregate_type, p_aggregate_id, p_command_type, p_fingerprint, p_actor, null, v_position, 1
    );
    insert into eventstore.events
    values (
        p_shard, v_position, p_aggregate_type, p_aggregate_id, v_sequence, p_event_type, p_schema_version, p_subject,
        p_command_id, p_payload, p_metadata, p_occurred_at, v_now, v_event_hash
    );
    insert into eventstore.commands
    values (
        p_shard, p_command_id, p_aggregate_type, p_aggregate_id, p_command_type, p_fingerprint, p_actor, 'accepted',
        null, v_position, 1, v_number, v_now, v_command_hash
    );
    v_hash := eventstore.commit_hash(
        v_head.hash, p_shard, v_number, v_position, v_position, v_now, v_command_hash || v_event_hash
    );
    insert into eventstore.commits
    values (p_shard, v_number, v_position, v_position, v_now, v_head.hash, v_hash);
    perform eventstore.notify('foldbook_log', p_shard || ':' || v_position);
    return query select 'appended', v_position, v_sequence, null::boolean, v_number, v_hash;
end
$$;
comment on function eventstore.append_one is
    'Appends one command with one event: what append does with a batch of one, at half its cost.';
