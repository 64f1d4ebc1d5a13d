-- append, for a process that may write only while it holds a lease. The lease is looked at under the shard's lock, which
-- acquire_lease takes too: so an append is either before the lease changed hands, or refused.
create or replace function eventstore.append_under_lease(
    p_lease text,
    p_holder text,
    p_epoch bigint,
    p_shard integer,
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
as $$
begin
    perform eventstore.lock_shard(p_shard);
    -- A replica that lagged behind counts from an earlier epoch when it takes over: the number alone may be another's.
    if not exists (
        select from eventstore.leases l where l.name = p_lease and l.epoch = p_epoch and l.holder = p_holder
    ) then
        raise exception 'the lease % is no longer held by % at epoch %', p_lease, p_holder, p_epoch
            using errcode = 'FB015';
    end if;
    return query
    select *
    from eventstore.append(
        p_shard, p_command_ids, p_aggregate_types, p_aggregate_ids, p_command_types, p_fingerprints,
        p_expected_sequences, p_absent_subjects, p_actors, p_reasons, p_event_counts, p_event_indexes, p_event_types,
        p_schema_versions, p_subjects, p_payloads, p_metadata, p_occurred_at
    );
end
$$;
comment on function eventstore.append_under_lease is
    'append, unless the lease has changed hands: then FB015, and nothing is written.';
