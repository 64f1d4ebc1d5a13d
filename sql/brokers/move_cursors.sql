create or replace function brokers.move_cursors(p_sources text[], p_cursors text[])
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into brokers.cursors (source, cursor)
    select *
    from unnest(p_sources, p_cursors)
    on conflict (source) do update set cursor = excluded.cursor, moved_at = clock_timestamp();
$$;
comment on function brokers.move_cursors is 'Keeps how far the fills of these sources were read.';
