create or replace function brokers.doubt_counts()
returns table (broker text, doubts bigint)
language plpgsql
stable
as $$
begin
    return query
    select split_part(o.account, '/', 3), sum(jsonb_array_length(o.doubts))::bigint
    from read.orders o
    where o.doubts is not null
    group by 1;
end
$$;
comment on function brokers.doubt_counts is 'How many requests are in doubt, by kind of broker.';
