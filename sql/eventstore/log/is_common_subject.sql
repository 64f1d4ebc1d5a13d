create or replace function eventstore.is_common_subject(p_shard integer, p_subject text, p_events bigint)
returns boolean
language plpgsql
stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    return exists (
        select
        from eventstore.events e
        where e.shard = p_shard and e.subject = p_subject
        offset p_events
    );
end
$$;
comment on function eventstore.is_common_subject is
    'Do more than p_events events of a shard have this subject, whatever their aggregates are?';
