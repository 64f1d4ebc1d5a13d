create or replace function brokers.read_cursors(p_sources text[])
returns table (source text, cursor text)
language sql
stable
as $$
    select c.source, c.cursor
    from brokers.cursors c
    where c.source = any (p_sources);
$$;
comment on function brokers.read_cursors is 'How far the fills of these sources were read.';
