"""Leases, and what the gateways keep beside the log."""

from collections.abc import Sequence

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

BROKERS = """
create table eventstore.leases (
    name text primary key,
    epoch bigint not null,
    holder text not null,
    acquired_at timestamptz not null,
    renewed_at timestamptz not null,
    expires_at timestamptz not null,
    status jsonb not null default '{}'
) with (fillfactor = 50);
comment on table eventstore.leases is
    'Who may do something that only one process may do at a time. An append under a lease is refused when the lease has another epoch.';
comment on column eventstore.leases.epoch is 'How many holders there have been.';
comment on column eventstore.leases.holder is 'The process that holds it, or held it last.';
comment on column eventstore.leases.expires_at is 'By the database''s clock. Later than that, another process may take it.';
comment on column eventstore.leases.status is 'What the holder says of itself at each renewal.';

create table brokers.cursors (
    source text primary key,
    cursor text not null,
    moved_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on table brokers.cursors is
    'How far the fills of a broker were read. Only a saving: without it they are read again, and change nothing.';
comment on column brokers.cursors.source is 'An account, or a broker whose accounts are read together.';

create table brokers.reconciliations (
    account text primary key,
    requested bigint not null,
    requested_at timestamptz not null,
    done bigint not null default 0,
    done_at timestamptz,
    result jsonb
) with (fillfactor = 50);
comment on table brokers.reconciliations is 'Requests to compare an account with its broker, and the latest result.';
comment on column brokers.reconciliations.requested is 'The number of the latest request.';
comment on column brokers.reconciliations.done is 'The number of the latest request that was done.';
"""


def upgrade() -> None:
    op.execute("create schema if not exists brokers")
    op.execute(BROKERS)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead of downgrading")
