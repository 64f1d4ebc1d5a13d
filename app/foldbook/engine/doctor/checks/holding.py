"""Who holds what: sessions and prepared transactions that stand in the way of others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from foldbook.engine.doctor.finding import Finding, Patient

LONG_S = 300.0
"""A transaction that lasts longer holds back vacuum, and what it locks."""
STUCK_S = 2.0
"""Whoever makes others wait for longer is told of."""
LOCKS_SHARE = 0.2
FREE_CONNECTIONS_SHARE = 0.1


class Session(NamedTuple):
    """A row of ``audit.sessions``."""

    pid: int
    login: str | None
    application: str
    client: str
    transaction_began_at: datetime | None
    doing: str
    holds_back_vacuum: bool
    may_be_ended: bool | None
    waits_for_replicas_since: datetime | None

    @property
    def lasts_s(self) -> float | None:
        """How long its transaction lasts. None: there is none, or it is not shown."""
        began_at = self.transaction_began_at
        return None if began_at is None else (datetime.now(UTC) - began_at).total_seconds()

    def told(self) -> str:
        since = "" if self.lasts_s is None else f", in a transaction for {self.lasts_s:.0f} s"
        doing = f", {self.doing}" if self.doing else ""
        return f"session {self.pid} of {self.login} ({self.application or 'no name'}, {self.client}){since}{doing}"

    def end(self) -> str:
        if self.may_be_ended:
            return f'foldbook psql --owner -c "select pg_terminate_backend({self.pid})"'
        return f"as a superuser or as {self.login}: select pg_terminate_backend({self.pid})"


def check(patient: Patient) -> Iterator[Finding]:
    """Locks, connections and transactions that somebody holds."""
    sessions = {session.pid: session for session in sessions_of(patient)}
    # To end one that waits for replicas helps nobody: the next one waits, too. ``writing`` tells of the replicas.
    endable = {pid: session for pid, session in sessions.items() if session.waits_for_replicas_since is None}
    yield from _writers_locks(patient, endable)
    yield from _blockers(patient, endable)
    yield from _long_transactions(endable)
    yield from _prepared(patient)
    yield from _locks(patient, sessions)
    yield from _connections(patient)


def sessions_of(patient: Patient) -> Iterator[Session]:
    """The sessions in the database, but for that of doctor."""
    return map(Session._make, _rows(patient, "audit.sessions()"))


def _writers_locks(patient: Patient, sessions: dict[int, Session]) -> Iterator[Finding]:
    for pid, waiting, since in _rows(patient, "audit.writer_lock_holders()"):
        session = sessions.get(pid)
        if session is not None and (is_long_ago(since) or (session.lasts_s or 0.0) > STUCK_S):
            yield Finding(
                f"the writer's lock is held by {session.told()}; {waiting} sessions wait for it",
                "no command can be taken while it is held",
                session.end(),
            )


def _blockers(patient: Patient, sessions: dict[int, Session]) -> Iterator[Finding]:
    holders = {pid for pid, _, _ in _rows(patient, "audit.writer_lock_holders()")}
    for pid, waiting, since in _rows(patient, "audit.blockers()"):
        session = sessions.get(pid)
        if session is not None and is_long_ago(since) and pid not in holders:
            yield Finding(
                f"{waiting} sessions wait for {session.told()}",
                "what they do, such as a migration or the last step of a rebuild, goes on when it has ended",
                session.end(),
            )


def _long_transactions(sessions: dict[int, Session]) -> Iterator[Finding]:
    for session in sessions.values():
        if session.holds_back_vacuum and (session.lasts_s or 0.0) > LONG_S:
            yield Finding(
                f"a transaction has lasted for long: {session.told()}",
                "vacuum removes nothing that it might still see, so that tables grow and queries slow down; if it "
                "listens, the queue of notifications fills up",
                session.end(),
            )


def _prepared(patient: Patient) -> Iterator[Finding]:
    for gid, login, prepared_at in _rows(patient, "audit.prepared_transactions()"):
        quoted = gid.replace("'", "''")
        yield Finding(
            f"transaction {gid!r} of {login} was prepared at {prepared_at:%Y-%m-%d %H:%M:%S} UTC and is not ended",
            "it keeps its locks, also over a restart, and holds back vacuum",
            f"as {login} or a superuser: rollback prepared '{quoted}'",
        )


def _locks(patient: Patient, sessions: dict[int, Session]) -> Iterator[Finding]:
    for pid, count, room in _rows(patient, "audit.locks_taken()"):
        if count > room * LOCKS_SHARE:
            session = sessions.get(pid)
            who = f"session {pid} of another database" if session is None else session.told()
            yield Finding(
                f"{who} has {count} locks of the {room} that the server has room for",
                "when there is no room left, every statement that needs a lock fails with `out of shared memory`, "
                "commands included",
                session.end() if session else f"as a superuser: select pg_terminate_backend({pid})",
            )


def _connections(patient: Patient) -> Iterator[Finding]:
    rows = _rows(patient, "audit.connections()")
    if rows and rows[0][0] < rows[0][1] * FREE_CONNECTIONS_SHARE:
        free, allowed = rows[0][:2]
        who = ", ".join(f"{count} of {login} ({name or 'no name'})" for _, _, login, name, count in rows[:5])
        yield Finding(
            f"{max(free, 0)} of {allowed} connections to the server are left: {who}",
            "without a connection no command can be taken, and nothing be asked",
            "end what needs none, limit its login (alter role ... connection limit ...), or raise max_connections",
        )


def is_long_ago(since: datetime | None) -> bool:
    """Whether somebody has been waiting for longer than an append takes."""
    return since is not None and (datetime.now(UTC) - since).total_seconds() > STUCK_S


def _rows(patient: Patient, function: str) -> list[tuple[Any, ...]]:
    return patient.connection.execute(f"select * from {function}".encode()).fetchall()  # noqa: S608 - ours
