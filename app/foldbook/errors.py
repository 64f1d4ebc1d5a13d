"""What can go wrong: one base, and a stable code for each kind.

::

    FoldbookError
    ├── Refusal                 the aggregate refused a command: recorded, and answered the same way when sent again
    │   └── SequenceConflict    the command required a sequence that is not the aggregate's
    ├── IdempotencyConflict     the same command id was sent with different content
    ├── Overloaded              a bounded queue is full, or contention outlasted its retries: try again later
    ├── StoreUnavailable        the database did not answer in time; the command's fate may be unknown
    │   └── SessionRefused      the database, or what is before it, does not give the session that was asked for
    ├── DatabaseError           the database refused a statement, for a reason that trying again does not change
    ├── LeaseLost               another process holds the lease that an append needs (eventstore.postgres_store)
    ├── BrokerUnavailable       a broker did not answer a question        (brokers.port)
    ├── Unauthenticated         a request has no key that is in force     (access.roles)
    ├── Forbidden               a key may not do this                     (access.roles)
    ├── RateLimited             a key sends too many requests             (access.rates)
    ├── AccountHidden           a key may not see the account             (access.roles)
    ├── UnknownEvent            a type or schema version that this program does not know
    ├── LogClockAhead           what was recorded up to a time cannot be said
    ├── UnreadableEvent         a payload that is not of its type, or cannot be folded
    ├── ProjectionError         an unknown projection, or one that is busy or failed
    ├── LogMismatch             the database's log is not the one that the settings describe
    ├── LogChanged              the log is not the one that a reader has read before
    ├── Overtaken               a command has to be decided again         (eventstore.commands.batch)
    ├── MigrationError          the database refused a migration          (postgres.migrations)
    ├── UnsafeFolder            somebody else could use the data folder   (postgres.data_folder)
    ├── EmbeddedPostgresError   the embedded server cannot be run         (postgres.binaries)
    ├── MarketDataError         a file of market data cannot be used      (market.errors)
    ├── StrategyError           a strategy cannot be loaded or run        (strategies.errors)
    ├── BacktestError           a backtest cannot be run as asked for     (backtest.run)
    ├── AccountExists           a backtest needs an account of its own    (backtest.stream)
    ├── AuditError              an export or an anchor cannot be used     (audit.report)
    ├── SweepError              a sweep cannot be run                     (backtest.sweep)
    ├── LiveError               a live account is set up wrongly          (brokers.live.errors)
    ├── RabbitUnavailable       RabbitMQ cannot be reached                (messaging.connection)
    ├── RabbitRefused           RabbitMQ did not take a message           (messaging.publishing)
    ├── UnknownDeadLetter       there is no such dead letter              (messaging.dead_letters)
    ├── DeadLettersBusy         somebody else looks at the dead letters   (messaging.dead_letters)
    ├── DeadLetterStays         a dead letter cannot be sent again        (messaging.dead_letters)
    ├── PositionAhead           a stream is to begin after the log's end  (eventstore.readers.tail)
    ├── FellBehind              a reader of a stream does not keep up     (eventstore.readers.tail)
    ├── StreamError             a stream cannot be followed               (client.follow)
    ├── Gap                     a consumer has missed events              (client.inbox)
    ├── VenueAlreadyRuns        another venue uses the data folder        (venue.store)
    ├── VenueDataError          the venue's data folder is damaged        (venue.journal)
    ├── VenueStopped            the venue cannot write its journal        (venue.server.commits)
    ├── VenueProblem            a request to the venue is wrong           (venue.server.problems)
    ├── Problem                 an HTTP request is wrong                  (api.problems)
    ├── RequestRefused          a request could mean two things, or is too much  (wire.requests)
    │   └── TooManyConnections  a key has too many                        (wire.connections)
    ├── CommandFailed           a command that was sent was not decided   (messaging.answers)
    ├── Poison                  a message that cannot be done             (messaging.command_messages)
    ├── RabbitError             RabbitMQ cannot be started                (engine.rabbit)
    ├── AlreadyRunning          another engine uses the data folder       (engine.lock)
    ├── LockError               the data folder is not free               (engine.lock)
    ├── AddressError            the API cannot listen on its address      (engine.address)
    └── SupervisorError         a part cannot be started or kept running  (engine.supervisor)

Every code is registered once, by the module that raises it, with its HTTP status and title. ``sql/README.md`` lists the
SQLSTATEs of class ``FB`` that ``sql/`` raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple


class Kind(NamedTuple):
    """How HTTP presents a code: ``status``, and ``title``, the same for every error with this code (RFC 9457)."""

    status: int
    title: str


_KINDS: dict[str, Kind] = {}


def register(kinds: Mapping[str, tuple[int, str]]) -> None:
    """Register codes, each with its status and title. A code means one thing: registering a second meaning raises
    ``ValueError``."""
    for code, (status, title) in kinds.items():
        if _KINDS.setdefault(code, Kind(status, title)) != (status, title):
            raise ValueError(f"code {code!r} is registered already, as {_KINDS[code]}")


def kind_of(code: str) -> Kind | None:
    """The kind registered for a code. None: it is not registered, as for a refusal that a newer program recorded."""
    return _KINDS.get(code)


def reason_of(error: BaseException) -> str:
    """What it says; of one that says nothing, what it is called."""
    return str(error) or type(error).__name__


class FoldbookError(Exception):
    """The base of all errors. ``code`` is stable and part of the interface. ``detail`` tells a person what happened and
    what to do next. ``details`` are named facts, ready for JSON."""

    code: str = "internal"
    retry_after_s: int | None = None
    """Seconds after which trying again makes sense; None if it does not, or if that is unknown."""

    def __init_subclass__(cls, *, code: str | None = None, status: int = 500, title: str = "") -> None:
        super().__init_subclass__()
        if code is not None:
            register({code: (status, title)})
            cls.code = code

    def __init__(self, detail: str, **details: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.details = details


class Refusal(FoldbookError):
    """A command that the aggregate refused, with a code of its domain."""

    def __init__(self, code: str, detail: str, **details: object) -> None:
        super().__init__(detail, **details)
        self.code = code


class SequenceConflict(Refusal):
    """``expected``: the sequence that the command required; ``actual``: the aggregate's."""

    CODE: ClassVar[str] = "sequence-conflict"

    def __init__(self, expected: int, actual: int) -> None:
        detail = f"expected the aggregate at sequence {expected}, but it is at {actual}"
        super().__init__(self.CODE, detail, expected=expected, actual=actual)


class IdempotencyConflict(
    FoldbookError, code="idempotency-conflict", status=409, title="The command id was used with different content"
):
    pass


class Overloaded(FoldbookError, code="overloaded", status=503, title="The engine is overloaded"):
    retry_after_s: int

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class StoreUnavailable(FoldbookError, code="unavailable", status=503, title="The database cannot be reached"):
    """``in_doubt``: the command may have been recorded all the same; send it again with its id to find out."""

    retry_after_s = 1

    def __init__(self, detail: str, *, in_doubt: bool = False) -> None:
        super().__init__(detail, in_doubt=in_doubt)

    @property
    def in_doubt(self) -> bool:
        return bool(self.details["in_doubt"])

    @in_doubt.setter
    def in_doubt(self, value: bool) -> None:
        self.details["in_doubt"] = value


class SessionRefused(
    StoreUnavailable, code="session-refused", status=503, title="The database does not give the session that is needed"
):
    """What results, promises and hashes depend on is not as it must be: ``problem`` names it, ``mend`` what to do."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(f"{problem}: {mend}")
        self.problem, self.mend = problem, mend


class DatabaseError(FoldbookError, code="database-error", status=500, title="The database refused a statement"):
    """``detail`` has the SQLSTATE and the database's message."""


class UnknownEvent(
    FoldbookError, code="unknown-event", status=500, title="The log contains an event that this program does not know"
):
    def __init__(self, type_name: str, schema_version: int) -> None:
        super().__init__(f"this program does not know event type {type_name!r} with schema version {schema_version}")


class LogClockAhead(
    FoldbookError, code="log-clock-ahead", status=409, title="The log's clock is ahead of the database server's"
):
    """What was recorded up to a time is asked for, and nobody can say: the server's clock was put back."""


class UnreadableEvent(
    FoldbookError, code="unreadable-event", status=500, title="The log contains an event that cannot be read"
):
    @classmethod
    def of(cls, type_name: str, schema_version: int, why: str) -> UnreadableEvent:
        return cls(f"event type {type_name!r} with schema version {schema_version}, as its upcasters leave it: {why}")


class ProjectionError(FoldbookError):
    """``code`` is one of the projection codes registered below."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class LogMismatch(
    FoldbookError, code="log-mismatch", status=503, title="The database's log is not the one that the settings describe"
):
    @classmethod
    def of_shards(cls, found: int, expected: int) -> LogMismatch:
        return cls(
            f"this log has {found} shards, fixed when it was created, but the settings say {expected}: "
            f"set FOLDBOOK_SHARDS={found}, or use another database"
        )


class LogChanged(FoldbookError, code="log-changed", status=409, title="The log is not the one that was read"):
    """It has something else where the reader has been, as after a failover to a replica that lagged behind. Read it
    anew, and compare."""


register(
    {
        "internal": (500, "The engine failed"),
        "invalid-command": (422, "The command breaks a rule"),
        SequenceConflict.CODE: (412, "The aggregate is at another sequence"),
        "unknown-projection": (404, "The projection does not exist"),
        "projection-busy": (409, "The projection is busy"),
        "projection-not-stopped": (409, "The projection is not stopped at this position"),
        "projection-failed": (500, "The projection failed"),
    }
)
