create or replace function brokers.query_doubt(p_doubt_id text)
returns table (account text, order_id text)
language plpgsql
stable
as $$
begin
    return query
    select o.account, o.order_id
    from read.orders o
    where o.doubts is not null
        and o.doubts @> jsonb_build_array(jsonb_build_object('doubt_id', p_doubt_id))
    limit 1;
end
$$;
comment on function brokers.query_doubt is 'The order that a doubt is about.';
