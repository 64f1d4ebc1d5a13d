create or replace function eventstore.projection_input(p_aggregate_types text[])
returns text
language sql
immutable parallel safe
return 'select * from eventstore.log e where e.aggregate_type in ('
    || (select string_agg(quote_literal(t.name), ', ') from unnest(p_aggregate_types) as t (name))
    || ')';
comment on function eventstore.projection_input(text[]) is
    'The query of the view `log` that a projection reads: the events of its aggregate types. Constants, so that the planner knows them.';
