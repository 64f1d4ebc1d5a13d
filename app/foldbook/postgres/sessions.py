"""What a session must be like, whichever library opened it, and how that is made sure.

A session does not believe its database, its role or a pooler: it sets what a result, a promise or a hash depends on, by
SQL after connecting, and reads it back in another transaction. What it cannot set, it checks. A session that is not as
asked for is refused (:class:`SessionRefused`) with the name of the setting.

What is left to the operator: memory, logging, vacuum, the planner's knobs; and ``default_transaction_read_only``, which
hosters set when a disk is full and operators to fence a server, so that a session must not get around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from foldbook.errors import SessionRefused

PINNED: Mapping[str, str] = {
    # A command is answered after COMMIT: what was acknowledged must be on disk. A stronger setting stays.
    "synchronous_commit": "on",
    # Each statement of an append sees what the holder of the lock before it has committed.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # How long something may take is decided by the caller, who gives up in a way that is answered.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    # A process that hangs in a transaction must not keep the writer's lock.
    "idle_in_transaction_session_timeout": "1min",
    # What a statement says.
    "search_path": "pg_catalog, pg_temp",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "default_table_access_method": "heap",
    "restrict_nonsystem_relation_kind": "",
    # A policy that hides rows from somebody makes the statement fail, and not its result smaller.
    "row_security": "off",
    # How values become text, and text becomes values.
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_numeric": "C",
    "lc_monetary": "C",
    "lc_time": "C",
    "xmlbinary": "base64",
    "xmloption": "content",
    # A commit that a replica does not have, because somebody canceled the wait for it, is told in a warning.
    "client_min_messages": "warning",
    # An error ends a statement, not the session.
    "exit_on_error": "off",
    "plan_cache_mode": "auto",
    # Our own. The whole log is folded, but for a worker of a rebuild, which says which slice it takes.
    "foldbook.slice": "0",
    "foldbook.slices": "1",
    # For which head of the log the session has made its plans: none yet.
    "foldbook.planned_for": "0",
}
"""As ``SHOW`` shows them. A setting that the server's version does not know is left out."""

REQUIRED: Mapping[str, Sequence[str]] = {
    "session_replication_role": ("origin", "local"),
    "zero_damaged_pages": ("off",),
    "ignore_checksum_failure": ("off",),
    "ignore_system_indexes": ("off",),
    "server_encoding": ("UTF8",),
}
"""What only a superuser or nobody can set: triggers fire, damaged pages are not read as empty ones, text is UTF-8."""

PREFERRED: Mapping[str, str] = {
    # Compiling a plan takes longer than running it.
    "jit": "off",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
}
"""Set and not checked: nothing but time depends on them."""

STRONGER = {"synchronous_commit": "remote_apply"}
"""Values that are as good as the pinned one, and kept."""

SET = """
select pg_catalog.count(pg_catalog.set_config(s.name, s.value, false))
from rows from (
    pg_catalog.unnest({names}::pg_catalog.text[]), pg_catalog.unnest({values}::pg_catalog.text[])
) as s (name, value)
where (pg_catalog.current_setting(s.name, true) is not null or pg_catalog.strpos(s.name, '.') operator(pg_catalog.>) 0)
    and not (
        s.name operator(pg_catalog.=) 'synchronous_commit'
        and s.value operator(pg_catalog.=) 'on'
        and pg_catalog.current_setting(s.name) operator(pg_catalog.=) 'remote_apply'
    )
"""
LOOK = """
select
    current_user::pg_catalog.text,
    pg_catalog.pg_backend_pid(),
    array(
        select pg_catalog.current_setting(s.name, true)
        from pg_catalog.unnest({names}::pg_catalog.text[]) with ordinality as s (name, ordinal)
        order by s.ordinal
    ),
    exists (
        select
        from pg_catalog.pg_namespace n
        join pg_catalog.pg_class c on c.relnamespace operator(pg_catalog.=) n.oid
        join pg_catalog.pg_attribute a on a.attrelid operator(pg_catalog.=) c.oid
        where n.nspname operator(pg_catalog.=) 'eventstore'
            and c.relname operator(pg_catalog.=) 'log_info'
            and a.attname operator(pg_catalog.=) 'program'
            and pg_catalog.has_schema_privilege(n.oid, 'usage')
            and pg_catalog.has_column_privilege(c.oid, a.attnum, 'select')
    )
"""
"""Both run before a session finds anything, and in databases without our functions: so names are qualified."""

CONNECT = "connect directly, or through a pooler in session mode"


class Wanted(NamedTuple):
    """``settings``: to be set, by name. ``role``: what the session runs as; None: what its login does."""

    settings: Mapping[str, str]
    role: str | None

    @property
    def to_set(self) -> tuple[list[str], list[str]]:
        """The arguments of ``SET``. The role comes last: the login may be allowed more."""
        chosen = {**PREFERRED, **self.settings} | ({} if self.role is None else {"role": self.role})
        return list(chosen), list(chosen.values())

    @property
    def to_look_at(self) -> list[str]:
        """The argument of ``LOOK``."""
        return [*self.settings, *REQUIRED]


def wanted(options: Mapping[str, str], differing: Mapping[str, str], role: str | None) -> Wanted:
    """What a session sets. ``options``: what its URL adds to the pinned settings, without changing them; ``differing``:
    what its owner decides otherwise."""
    own = {name.lower() for name in PINNED}
    added = {name: value for name, value in options.items() if name != "role" and name.lower() not in own}
    return Wanted({**added, **PINNED, **differing}, role)


class Found(NamedTuple):
    """What ``LOOK`` returned. ``knows_program``: the database says whose code it has (``program.py``)."""

    user: str
    backend: int
    values: Sequence[Any]
    knows_program: bool


def check(asked: Wanted, found: Found) -> None:
    """Raises :class:`SessionRefused` if the session is not what was asked for."""
    if asked.role is not None and found.user != asked.role:
        raise SessionRefused(
            f"the session runs as {found.user} and not as {asked.role}, although it has taken on that role",
            f"something between here and the database drops it; {CONNECT}",
        )
    values = dict(zip(asked.to_look_at, found.values, strict=True))
    for name, value in asked.settings.items():
        if name in PINNED and values[name] is not None and not _is_as_good(name, value, values[name]):
            raise SessionRefused(
                f"the session has {name} = {values[name]} and not {value}, although it has set that",
                f"something between here and the database resets it; {CONNECT}",
            )
    for name, allowed in REQUIRED.items():
        if values[name] is not None and values[name] not in allowed:
            raise SessionRefused(f"the session has {name} = {values[name]}, and needs {allowed[0]}", _mend(name))


def _mend(name: str) -> str:
    if name == "server_encoding":
        return "create the database with `encoding 'UTF8' template template0`, and migrate that one"
    return f"as a superuser, `alter role … reset {name}`, `alter database … reset {name}`, or correct postgresql.conf"


def _is_as_good(name: str, wanted: str, found: str) -> bool:
    return found == wanted or (wanted == PINNED[name] and found == STRONGER.get(name))
