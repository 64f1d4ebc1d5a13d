-- The last step of a rebuild, in one transaction: it holds the live projector, and the shadow copy catches up and replaces
-- the live one. Readers wait only while the tables are renamed. Called as a separate statement, it commits without another
-- round trip.
create or replace function eventstore.projection_swap(
    p_projection text, p_run bigint, p_aggregate_types text[]
)
returns void
language plpgsql
as $$
declare
    v_shard integer;
begin
    -- New readers queue behind this while it waits for others to finish reading, but not longer than this.
    perform set_config('lock_timeout', '50ms', true);
    perform from eventstore.projection_runs r where r.name = p_projection for no key update;
    perform eventstore.projection_check_run(p_projection, p_run);
    perform
    from eventstore.subscriptions s
    where s.name = p_projection
    order by s.shard
    for update;

    for v_shard in
        select s.shard
        from eventstore.subscriptions s
        where s.name = eventstore.projection_subscription('rebuild', p_projection)
    loop
        perform eventstore.projection_round('rebuild', p_projection, v_shard, 9223372036854775807);
    end loop;
    perform eventstore.projection_replace(p_projection, p_aggregate_types);
end
$$;
comment on function eventstore.projection_swap(text, bigint, text[]) is
    'Lets the rebuilt copy of a projection catch up, and replaces the live one with it. Raises lock_not_available while readers hold the live tables.';
