create or replace function eventstore.projection_drop(p_copy text, p_projection text)
returns void
language plpgsql
as $$
begin
    assert p_copy <> 'live';
    execute format('drop schema if exists %I cascade', eventstore.projection_schema(p_copy, p_projection));
    delete from eventstore.subscriptions s
    where s.name = eventstore.projection_subscription(p_copy, p_projection);
end
$$;
comment on function eventstore.projection_drop(text, text) is 'Drops a shadow copy of a projection, if there is one.';
