create or replace view eventstore.log as
select
    e.shard,
    e.position,
    e.aggregate_id,
    e.sequence,
    e.type,
    e.schema_version,
    e.subject,
    e.command_id,
    e.payload,
    e.metadata,
    e.occurred_at,
    e.recorded_at
from eventstore.events e;
comment on view eventstore.log is
    'The events in the shape they have today: what every reader reads. The stored rows never change.';
