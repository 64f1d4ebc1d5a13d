-- A queue of notifications that is full makes the commit fail; so near its end nothing is notified. A full queue is the
-- doing of a session that listens in an open transaction. Asking for the usage also frees what nobody needs any more.
create or replace function eventstore.notify(p_channel text, p_payload text)
returns void
language plpgsql
as $$
begin
    if pg_notification_queue_usage() < 0.5 then
        perform pg_notify(p_channel, p_payload);
    end if;
end
$$;
comment on function eventstore.notify is
    'Notifies those who listen, unless the queue of notifications is half full: a notification is only a hint, and readers also poll.';
