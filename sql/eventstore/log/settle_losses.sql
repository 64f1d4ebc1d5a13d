create or replace function eventstore.settle_losses(p_until bigint)
returns bigint
language sql
as $$
    with settled as (
        update eventstore.losses l
        set settled_at = clock_timestamp()
        where l.settled_at is null
            and l.number <= p_until
        returning l.number
    )
    select count(*) from settled;
$$;
comment on function eventstore.settle_losses is 'Somebody has dealt with these losses, up to a number. Only the owner may say so.';
