create or replace function eventstore.refuse_change()
returns trigger
language plpgsql
as $$
begin
    raise exception 'the log is append-only: % of %.% is refused', lower(tg_op), tg_table_schema, tg_table_name
        using errcode = 'FB003';
end
$$;
comment on function eventstore.refuse_change is
    'Refuses UPDATE, DELETE and TRUNCATE of the log''s tables, even to their owner.';

-- A statement trigger: append only inserts, so it never calls it. Always enabled, whatever session_replication_role is.
create or replace trigger refuse_change
before update or delete or truncate on eventstore.events
for each statement
execute function eventstore.refuse_change();
alter table eventstore.events enable always trigger refuse_change;

create or replace trigger refuse_change
before update or delete or truncate on eventstore.commands
for each statement
execute function eventstore.refuse_change();
alter table eventstore.commands enable always trigger refuse_change;

create or replace trigger refuse_change
before update or delete or truncate on eventstore.commits
for each statement
execute function eventstore.refuse_change();
alter table eventstore.commits enable always trigger refuse_change;
