-- The workers that fill a shadow copy in parallel each see a slice of the log: some of its aggregates, with all their
-- events in order. No two workers ever write the same row, because a row belongs to one aggregate.
create or replace function eventstore.projection_slice(p_aggregate_types text[], p_slice integer, p_slices integer)
returns void
language plpgsql
as $$
begin
    execute format(
        'create temporary view log as %s and (hashtext(e.aggregate_id) & 2147483647) %% %s = %s',
        eventstore.projection_input(p_aggregate_types), p_slices, p_slice
    );
end
$$;
comment on function eventstore.projection_slice(text[], integer, integer) is
    'Makes this session see one of p_slices slices of the log in projection_apply(..., true).';
