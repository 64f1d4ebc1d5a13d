create or replace function eventstore.head(p_shard integer)
returns eventstore.commits
language plpgsql
stable
as $$
declare
    v_head eventstore.commits;
begin
    select c.*
    into v_head
    from eventstore.commits c
    where c.shard = p_shard
    order by c.number desc
    limit 1;
    if not found then
        v_head := row(p_shard, 0, 1, 0, '-infinity', ''::bytea, sha256(''::bytea));
    end if;
    return v_head;
end
$$;
