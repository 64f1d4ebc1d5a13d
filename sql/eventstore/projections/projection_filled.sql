create or replace function eventstore.projection_filled(p_copy text, p_projection text, p_shard integer, p_to bigint)
returns void
language plpgsql
as $$
begin
    perform eventstore.subscription_move(eventstore.projection_subscription(p_copy, p_projection), p_shard, p_to);
end
$$;
comment on function eventstore.projection_filled(text, text, integer, bigint) is
    'Moves the checkpoint of a shadow copy to the position up to which all its slices are folded.';
