"""What the owner or a superuser of the database can do to the log's guards, and what is then said."""

from __future__ import annotations

from typing import NamedTuple

LYING_VIEW = """
do $do$
begin
    execute format(
        'create or replace view {0} as select l.* from (%s) l where l.type <> ''OrderFilled''',
        rtrim(pg_get_viewdef('{0}'::regclass), ';')
    );
end
$do$
"""
TRIGGER = """
create or replace trigger refuse_change
before {} on eventstore.events for each statement {} execute function eventstore.refuse_change();
alter table eventstore.events enable always trigger refuse_change
"""
STRANGER = "create role mallory;"
APPEND = "function eventstore.append("


class Manipulation(NamedTuple):
    """``said``: what the finding begins with. ``is_repaired``: ``foldbook migrate`` undoes it."""

    name: str
    statement: str
    said: str
    is_repaired: bool = True


M = Manipulation
MANIPULATIONS = [
    M(
        "a function that refuses nothing",
        "create or replace function eventstore.refuse_change() returns trigger language plpgsql"
        " as $$ begin if false then raise exception 'no'; end if; return null; end $$",
        "function eventstore.refuse_change() is not what",
    ),
    M(
        "a trigger that never fires",
        TRIGGER.format("update or delete or truncate", "when (false)"),
        "trigger refuse_change on",
    ),
    M(
        "a trigger for TRUNCATE only",
        TRIGGER.format("truncate", ""),
        "trigger refuse_change on eventstore.events is A:",
    ),
    M(
        "a trigger that replication gets around",
        "alter table eventstore.commits enable trigger refuse_change",
        "trigger refuse_change on eventstore.commits is O:",
    ),
    M(
        "a trigger that is disabled",
        "alter table eventstore.commands disable trigger refuse_change",
        "trigger refuse_change on eventstore.commands is D:",
    ),
    M(
        "no trigger",
        "drop trigger refuse_change on eventstore.events",
        "trigger refuse_change on eventstore.events is missing",
    ),
    M(
        "a trigger of somebody else",
        "create function public.forge() returns trigger language plpgsql"
        " as $$ begin new.payload := '{}'; return new; end $$;"
        "create trigger forge before insert on eventstore.events for each row execute function public.forge()",
        "trigger forge on eventstore.events is not the program's",
        False,
    ),
    M(
        "a rule that swallows",
        "create rule swallow as on insert to eventstore.commands where new.reason is not null do instead nothing",
        "rule swallow on eventstore.commands is not the program's",
        False,
    ),
    M(
        "rows hidden from one role",
        "alter table eventstore.events enable row level security;"
        "create policy hide on eventstore.events to foldbook_auditor using (type <> 'OrderFilled')",
        "policy hide on eventstore.events is not the program's",
    ),
    M(
        "row security forced",
        "alter table eventstore.commits enable row level security, force row level security",
        "row security eventstore.commits is not the program's: forced",
    ),
    M("a view log that lies", LYING_VIEW.format("eventstore.log"), "view eventstore.log is not what"),
    M("a view of the audit that lies", LYING_VIEW.format("audit.command_log"), "view audit.command_log is not what"),
    M(
        "a view that reads as somebody else",
        "alter view eventstore.log set (security_invoker = true)",
        "relation eventstore.log is view, security_invoker=true",
    ),
    M(
        "a verification that finds nothing",
        "create or replace function audit.verify_ends(p_shard integer)"
        ' returns table ("position" bigint, "commit" bigint, problem text, detail text) language sql'
        " as $$ select 1, 1, '', '' where false $$",
        "function audit.verify_ends(p_shard integer) is not what",
    ),
    M(
        "a parsed function that lies",
        "create or replace function audit.checkpoint_at(p_shard integer, p_commit bigint)"
        " returns table (events bigint, hash bytea) language sql stable set search_path = pg_catalog, pg_temp"
        " begin atomic select c.last_position, c.hash from eventstore.commits c where c.shard = p_shard; end",
        "function audit.checkpoint_at(p_shard integer, p_commit bigint) is not what",
    ),
    M(
        "a function with its caller's rights",
        "alter function eventstore.append_one security invoker",
        "function eventstore.append_one(",
    ),
    M(
        "a function with any search_path",
        "alter function eventstore.append reset search_path",
        "function eventstore.append(",
    ),
    M(
        "a function of the same name",
        "create function audit.verify_ends(p_shard bigint) returns text return 'ok'",
        "function audit.verify_ends(p_shard bigint) is not the program's",
    ),
    M(
        "an upcaster that no file has",
        """create function upcast."OrderFilled_1"(payload jsonb) returns jsonb return '{}'::jsonb""",
        'function upcast."OrderFilled_1"(payload jsonb) is not the program\'s',
        False,
    ),
    M(
        "a column",
        "alter table eventstore.events add column seen boolean default true",
        "column eventstore.events.seen",
        False,
    ),
    M(
        "a column that may be null",
        "alter table eventstore.events alter column hash drop not null",
        "column eventstore.events.hash is bytea, and should be bytea not null",
        False,
    ),
    M(
        "no unique key",
        "alter table eventstore.commands drop constraint commands_pkey",
        "constraint commands_pkey on eventstore.commands is missing",
        False,
    ),
    M(
        "an invalid index",
        "update pg_index set indisvalid = false where indexrelid = 'eventstore.events_subject'::regclass",
        "index events_subject on eventstore.events is CREATE",
        False,
    ),
    M(
        "an index that calls a function",
        "create function public.spy(jsonb) returns text immutable return $1 ->> 'x';"
        "create index spying on eventstore.events (public.spy(payload))",
        "index spying on eventstore.events is not the program's",
        False,
    ),
    M(
        "a constraint that refuses",
        "alter table eventstore.events add constraint quiet check (type <> 'OrderRejected') not valid",
        "constraint quiet on eventstore.events is not the program's",
        False,
    ),
    M(
        "a table whose rows are events too",
        "create table public.more () inherits (eventstore.events)",
        "inheritance public.more under eventstore.events is not the program's",
        False,
    ),
    M(
        "commits that a crash empties",
        "alter table eventstore.commits set unlogged",
        "relation eventstore.commits is table, persistence u, and should be table",
        False,
    ),
    M(
        "a right to write",
        "grant insert on eventstore.events to foldbook_engine",
        "grant to foldbook_engine on eventstore.events",
    ),
    M("a right for everybody", "grant delete on eventstore.commits to public", "grant to public on eventstore.commits"),
    M(
        "a right to a column",
        STRANGER + "grant update (payload) on eventstore.events to mallory",
        "grant to mallory on eventstore.events.payload is not the program's: UPDATE",
    ),
    M(
        "a right to append",
        STRANGER + "grant execute on function eventstore.append_one to mallory",
        "grant to mallory on eventstore.append_one(",
    ),
    M(
        "a right that is gone",
        "revoke select on eventstore.events from foldbook_auditor",
        "grant to foldbook_auditor on",
    ),
    M(
        "another owner",
        STRANGER + "grant all on schema audit to mallory; alter view audit.command_log owner to mallory",
        "owner audit.command_log is mallory, and should be owner",
        False,
    ),
    M(
        "rights on whatever comes",
        "alter default privileges for role {owner} in schema eventstore grant insert on tables to public",
        "default privileges owner r to public is not the program's: INSERT",
        False,
    ),
    M(
        "an engine that is a superuser",
        "alter role foldbook_engine superuser",
        "role foldbook_engine is superuser",
        False,
    ),
    M(
        "an auditor whom no policy holds",
        "alter role foldbook_auditor bypassrls createrole",
        "role foldbook_auditor is bypassrls, createrole",
        False,
    ),
    M(
        "an engine that may write all",
        "grant pg_write_all_data to foldbook_engine",
        "membership foldbook_engine in pg_write_all_data is not the program's",
        False,
    ),
    M(
        "an event trigger",
        "create function public.watch() returns event_trigger language plpgsql as $$ begin end $$;"
        "create event trigger watch on ddl_command_end execute function public.watch()",
        "event trigger watch is not the program's",
        False,
    ),
    M(
        "a subscription that writes",
        "create subscription feed connection 'dbname=x' publication p"
        " with (connect = false, slot_name = none, enabled = false);"
        "insert into pg_subscription_rel select s.oid, 'eventstore.events'::regclass, 'r', '0/0'"
        " from pg_subscription s where s.subname = 'feed'",
        "replication a subscription writes eventstore.events is not the program's",
        False,
    ),
    M(
        "a cast",
        "create function public.as_json(eventstore.events) returns json return '{}'::json;"
        "create cast (eventstore.events as json) with function public.as_json(eventstore.events)",
        "cast eventstore.events to json is not the program's",
        False,
    ),
]
IN_READ = [
    M(
        "a projection that lies",
        "create or replace function read.project_fills(p_shard integer, p_from bigint, p_to bigint) returns void"
        " language plpgsql as $$ begin end $$",
        "function read.project_fills(",
        False,
    ),
    M("a projection's log that lies", LYING_VIEW.format("input_fills.log"), "view input_fills.log is not what"),
    M("a column of a read table", "alter table read.fills add column note text", "column read.fills.note", False),
    M(
        "a view for the owner to run",
        "create function read.evil() returns integer return 1; create view read.positions_now as select read.evil()",
        "view read.positions_now is not the program's",
        False,
    ),
    M(
        "an operator for the owner to run",
        "create function read.same(text, text) returns boolean return true;"
        "create operator read.= (leftarg = text, rightarg = text, function = read.same)",
        "object operator read.=(pg_catalog.text,pg_catalog.text) is not the program's",
        False,
    ),
    M("a type", "create domain read.money as text", "object type read.money is not the program's", False),
]
