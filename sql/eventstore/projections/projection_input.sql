-- An upcaster that returns null would leave rows with half of what happened.
--
-- The condition is a case expression because no index can serve one. With a plain condition and outdated statistics, the
-- planner used the index of aggregates, (shard, aggregate_id, aggregate_type, sequence), for a range of positions: a round
-- of ten events read the whole log. It assumes that half of the rows satisfy a case expression.
create or replace function eventstore.projection_input(p_aggregate_types text[])
returns text
language sql
immutable parallel safe
return format(
    'select * from eventstore.log e where case when e.aggregate_type in (%s)'
        ' then e.payload is not null or eventstore.refuse_null(e.shard, e.position, e.type) else false end',
    (select string_agg(quote_literal(t.name), ', ') from unnest(p_aggregate_types) as t (name))
);
comment on function eventstore.projection_input(text[]) is
    'The query of the view `log` that a projection reads: the events of its aggregate types.';
