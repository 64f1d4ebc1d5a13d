-- The slice is a setting of the session, read once per query. A temporary view for each worker would need a right that
-- databases are often told to take away.
create or replace function eventstore.projection_make_input(
    p_schema text, p_aggregate_types text[], p_is_sliced boolean
)
returns void
language plpgsql
as $$
declare
    v_slice text := '';
begin
    if p_is_sliced then
        v_slice := $slice$
            and (hashtext(e.aggregate_id) & 2147483647)
                % (select coalesce(nullif(current_setting('foldbook.slices', true), '')::integer, 1))
                = (select coalesce(nullif(current_setting('foldbook.slice', true), '')::integer, 0))
        $slice$;
    end if;
    execute format('create view %I.log as ', p_schema) || eventstore.projection_input(p_aggregate_types) || v_slice;
end
$$;
comment on function eventstore.projection_make_input(text, text[], boolean) is
    'Creates the view `log` that a copy of a projection reads; that of a shadow copy shows a session its slice.';
