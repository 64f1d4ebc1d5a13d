-- The events that trading reads: only those of order books. Aggregates of other types may have the same ids.
create or replace view trading.log as
select l.*
from eventstore.log l
where l.aggregate_type = 'order_book';
comment on view trading.log is 'The events of order books in the shape they have today; aggregate_id is the account.';
