-- The condition is a case expression, because no index can serve one. As a plain condition it makes the index that leads to
-- an aggregate, (shard, aggregate_id, aggregate_type, sequence), look cheap for a range of positions whenever statistics lag
-- behind, and a round of ten events then read the whole log. The planner takes it for half of the rows, statistics or not.
create or replace function eventstore.projection_input(p_aggregate_types text[])
returns text
language sql
immutable parallel safe
return format(
    'select * from eventstore.log e where case when e.aggregate_type in (%s) then true else false end',
    (select string_agg(quote_literal(t.name), ', ') from unnest(p_aggregate_types) as t (name))
);
comment on function eventstore.projection_input(text[]) is
    'The query of the view `log` that a projection reads: the events of its aggregate types.';
