-- The last step of a rebuild, in one transaction: the live projector is held, the shadow copy catches up with it, and
-- takes its place. Readers wait while the tables are renamed, and no longer. Called as a statement of its own, it commits
-- without another round trip.
create or replace function eventstore.projection_swap(
    p_projection text, p_definition_hash text, p_aggregate_types text[]
)
returns void
language plpgsql
as $$
declare
    v_shard integer;
begin
    -- Readers queue behind this while it waits for others that are still reading: not for longer than this.
    perform set_config('lock_timeout', '50ms', true);
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
    perform eventstore.projection_replace(p_projection, p_definition_hash, p_aggregate_types);
end
$$;
comment on function eventstore.projection_swap(text, text, text[]) is
    'Catches the rebuilt copy of a projection up and puts it in the place of the live one. Raises lock_not_available while readers hold that.';
