"""The log: commits, commands, events; and its readers: subscriptions.

The tables of the write side (``docs/design.md``, section 3). The tables that append writes have no CHECK constraints:
PostgreSQL parses their expressions again in every statement, a fifth of the cost of an append of one command. Append
itself, the only writer, enforces what they would. Only ``subscriptions``, ``projection_runs`` and ``snapshots``, which hold
no facts, are ever updated or deleted from.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0003"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

LOG = """
create table eventstore.log_info (
    singleton boolean primary key default true check (singleton),
    log_id uuid not null default gen_random_uuid(),
    shard_count integer not null check (shard_count between 1 and 1024),
    created_at timestamptz not null default clock_timestamp()
);
comment on table eventstore.log_info is
    'One row: the identity of this log and the number of its shards, fixed when it was created.';

create table eventstore.commits (
    shard integer not null,
    number bigint not null,
    first_position bigint not null,
    last_position bigint not null,
    recorded_at timestamptz not null,
    previous_hash bytea not null,
    hash bytea not null,
    primary key (shard, number)
);
comment on table eventstore.commits is
    'One row per append transaction, numbered without gaps and sealed by a hash over the commit before it.';
comment on column eventstore.commits.first_position is
    'First position that this commit wrote; last_position + 1 if it recorded only commands without events.';
comment on column eventstore.commits.hash is
    'eventstore.commit_hash: over the hash of the commit before it, this row, and its commands'' and events'' hashes.';

create table eventstore.commands (
    shard integer not null,
    command_id uuid not null,
    aggregate_type text not null,
    aggregate_id text not null,
    type text not null,
    fingerprint bytea not null,
    actor text,
    outcome text not null,
    reason jsonb,
    first_position bigint,
    event_count integer not null,
    "commit" bigint not null,
    recorded_at timestamptz not null,
    hash bytea not null,
    primary key (shard, command_id)
);
create index commands_commit on eventstore.commands using brin ("commit");
comment on table eventstore.commands is
    'Every well-formed command ever answered, accepted or refused. Makes a retry idempotent and a failure auditable.';
comment on column eventstore.commands.fingerprint is
    'Digest of the command''s content, without its id and its time of receipt.';
comment on column eventstore.commands.hash is 'eventstore.command_hash of this row; sealed by its commit.';

create table eventstore.events (
    shard integer not null,
    position bigint not null,
    aggregate_type text not null,
    aggregate_id text not null,
    sequence bigint not null,
    type text not null,
    schema_version smallint not null,
    subject text,
    command_id uuid not null,
    payload jsonb not null,
    metadata jsonb not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    hash bytea not null,
    primary key (shard, position),
    constraint events_aggregate unique (shard, aggregate_id, aggregate_type, sequence)
);
create unique index events_subject on eventstore.events (shard, subject, aggregate_id, aggregate_type, sequence)
where subject is not null;
comment on table eventstore.events is 'The log: append-only, gapless, in commit order within its shard.';
comment on column eventstore.events.position is '1-based, gapless, commit-ordered number of the event within its shard.';
comment on column eventstore.events.aggregate_type is
    'The kind of the aggregate: the name of its decider. Aggregates of different types may have the same id.';
comment on column eventstore.events.sequence is '1-based number of the event within its aggregate.';
comment on column eventstore.events.subject is 'What inside the aggregate the event is about.';
comment on column eventstore.events.occurred_at is 'Business time: the broker''s clock, if the broker gave a time.';
comment on column eventstore.events.recorded_at is 'The database''s clock, one reading per commit.';
comment on column eventstore.events.hash is 'eventstore.event_hash of this row; sealed by its commit.';

create table eventstore.subscriptions (
    shard integer not null,
    name text not null,
    checkpoint bigint not null default 0 check (checkpoint >= 0),
    definition_hash text,
    error jsonb,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (shard, name)
) with (fillfactor = 10);
comment on table eventstore.subscriptions is
    'Checkpoints: the position up to which a named reader of a shard has done its work.';
comment on column eventstore.subscriptions.definition_hash is
    'For a projection: the SHA-256 of the file that this copy was created from.';
comment on column eventstore.subscriptions.error is
    'Why it stopped; null while all is well: {"position", "sqlstate", "message", "attempts", "since"}.';

create table eventstore.projections (
    name text primary key,
    definition_hash text not null,
    aggregate_types text[] not null,
    tables text[] not null,
    installed_at timestamptz not null default clock_timestamp()
);
comment on table eventstore.projections is
    'The projections installed in this database: the SHA-256 of each one''s file, and its tables in schema read.';

create table eventstore.projection_runs (
    name text primary key,
    kind text not null check (kind in ('reset', 'rebuild', 'verify')),
    events_done bigint not null default 0,
    events_total bigint not null default 0,
    started_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    error text
);
comment on table eventstore.projection_runs is
    'The last reset, rebuild or verification of each projection, and its progress.';

create table eventstore.dead_letters (
    shard integer not null,
    subscription text not null,
    position bigint not null,
    definition_hash text not null,
    error jsonb not null,
    reason text not null,
    actor text,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (shard, subscription, position, definition_hash)
);
comment on table eventstore.dead_letters is
    'Positions that an operator told a subscription to skip, and why: nothing is skipped silently.';
comment on column eventstore.dead_letters.definition_hash is
    'The definition that could not fold the event. A later one tries again; if it fails, the decision applies to it.';
comment on column eventstore.dead_letters.error is 'The error that the subscription had stopped with.';

create table eventstore.snapshots (
    shard integer not null,
    aggregate_type text not null,
    aggregate_id text not null,
    sequence bigint not null,
    fingerprint text not null,
    state jsonb not null,
    taken_at timestamptz not null default clock_timestamp(),
    primary key (shard, aggregate_id, aggregate_type)
);
comment on table eventstore.snapshots is
    'The latest cached fold of an aggregate. It is only a cache: rows can be deleted at any time.';
comment on column eventstore.snapshots.fingerprint is
    'Digest of the shape of the state; a snapshot of another shape is ignored.';

create table eventstore.code (
    path text primary key,
    sha256 text not null,
    applied_at timestamptz not null default clock_timestamp()
);
comment on table eventstore.code is
    'The files of sql/ as last applied: state is migrated, code is replaced.';
"""


def upgrade() -> None:
    op.execute("create schema if not exists eventstore")
    op.execute("create schema if not exists read")
    op.execute(LOG)


def downgrade() -> None:
    raise NotImplementedError("the log is append-only: restore a backup instead of downgrading")
