create or replace function eventstore.projection_filled(p_copy text, p_projection text, p_run bigint, p_shard integer, p_to bigint)
returns void
language plpgsql
as $$
begin
    perform eventstore.subscription_move(eventstore.projection_subscription(p_copy, p_projection), p_shard, p_to);
    perform eventstore.projection_check_run(p_projection, p_run);
end
$$;
comment on function eventstore.projection_filled(text, text, bigint, integer, bigint) is
    'Moves the checkpoint of a shadow copy to the position up to which all its slices are folded.';
