create or replace view audit.command_log as
select
    c.shard,
    c."commit",
    c.recorded_at,
    c.command_id,
    c.aggregate_type,
    c.aggregate_id,
    c.type,
    c.actor,
    c.outcome,
    c.reason ->> 'code' as reason,
    c.reason ->> 'detail' as detail,
    c.first_position,
    c.first_position + c.event_count - 1 as last_position,
    (
        select array_agg(e.type order by e.position)
        from eventstore.events e
        where e.shard = c.shard
            and e.position >= c.first_position
            and e.position < c.first_position + c.event_count
    ) as events
from eventstore.commands c;
comment on view audit.command_log is
    'Every command ever answered, one row however often it was sent: who asked, the outcome and, if it was refused, why.';
comment on column audit.command_log.recorded_at is 'When it was first answered, by the database''s clock.';
comment on column audit.command_log.reason is 'The code of the refusal; null if it was accepted.';
comment on column audit.command_log.events is 'The types of its events, in order; null: nothing was left to do, or it was refused.';
