"""What a snapshot was folded from, and what each file of code names."""

from collections.abc import Sequence

from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SEALS = """
delete from eventstore.snapshots;
alter table eventstore.snapshots
    add column position bigint not null,
    add column "commit" bigint not null,
    add column commit_hash bytea not null,
    add column hash bytea not null;
comment on column eventstore.snapshots.fingerprint is
    'Digest of the shape of the state, of the code that folds it, and of the upcasters of its events; another one is ignored.';
comment on column eventstore.snapshots.position is 'Of the last event in it.';
comment on column eventstore.snapshots."commit" is 'The number of the commit that wrote that event.';
comment on column eventstore.snapshots.commit_hash is
    'The hash of that commit. A snapshot of a commit that the log does not have is ignored.';
comment on column eventstore.snapshots.hash is 'eventstore.snapshot_hash of this row; a row that does not match it is ignored.';

delete from eventstore.code;
alter table eventstore.code
    add column object text,
    add column needs text[] not null;
comment on column eventstore.code.object is 'What the file defines; null: a projection, which has its own tables.';
comment on column eventstore.code.needs is 'The objects of other files that it names.';
"""


def upgrade() -> None:
    op.execute(SEALS)


def downgrade() -> None:
    raise NotImplementedError("the log is append-only: restore a backup instead of downgrading")
