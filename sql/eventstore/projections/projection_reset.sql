create or replace function eventstore.projection_reset(p_projection text, p_run bigint)
returns void
language plpgsql
as $$
declare
    v_table text;
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
    for v_table in
        select unnest(p.tables)
        from eventstore.projections p
        where p.name = p_projection
    loop
        execute format('truncate read.%I', v_table);
    end loop;
    update eventstore.subscriptions s
    set checkpoint = 0
    where s.name = p_projection;
    perform eventstore.subscription_move(s.name, s.shard, 0)
    from eventstore.subscriptions s
    where s.name = p_projection;
end
$$;
comment on function eventstore.projection_reset(text, bigint) is
    'Empties the live tables of a projection and starts it over. Raises lock_not_available while readers hold them.';
