-- The workers that fill a shadow copy in parallel each see a slice of the log: some of its aggregates, with all their
-- events in order. No two workers ever write the same row, because a row belongs to one aggregate.
create or replace function eventstore.projection_slice(p_slice integer, p_slices integer)
returns void
language plpgsql
as $$
begin
    perform set_config('foldbook.slice', p_slice::text, false);
    perform set_config('foldbook.slices', p_slices::text, false);
end
$$;
comment on function eventstore.projection_slice(integer, integer) is
    'Makes this session see one of p_slices slices of the log in shadow copies.';
