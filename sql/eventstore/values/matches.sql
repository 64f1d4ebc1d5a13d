create or replace function eventstore.matches(p_aggregate_id text, p_patterns text[])
returns boolean
language sql
immutable parallel safe
return p_patterns is null or exists (
    select
    from unnest(p_patterns) as p (pattern)
    where split_part(p.pattern, '/', 1) in ('*', split_part(p_aggregate_id, '/', 1))
        and split_part(p.pattern, '/', 2) in ('*', split_part(p_aggregate_id, '/', 2))
        and split_part(p.pattern, '/', 3) in ('*', split_part(p_aggregate_id, '/', 3))
        and p_aggregate_id like '%/%/%'
        and p_aggregate_id not like '%/%/%/%'
);
comment on function eventstore.matches is
    'Is the aggregate one of those that a key has? A pattern has three segments, and * stands for any. Null patterns: every aggregate.';
