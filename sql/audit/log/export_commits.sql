create or replace function audit.export_commits(p_shard integer, p_after bigint, p_to bigint)
returns table (
    shard integer, number bigint, first_position bigint, last_position bigint, recorded_at timestamptz,
    previous_hash text, hash text
)
language sql
stable
set search_path = pg_catalog, pg_temp
begin atomic
    select
        c.shard,
        c.number,
        c.first_position,
        c.last_position,
        c.recorded_at,
        encode(c.previous_hash, 'hex'),
        encode(c.hash, 'hex')
    from eventstore.commits c
    where c.shard = p_shard
        and c.number > p_after
        and c.number <= p_to
    order by c.number;
end;
comment on function audit.export_commits is 'Commits with a number in (p_after, p_to], in the shape of an export.';
