"""What a writer locks, and what a process saw in the log that is no longer there."""

from collections.abc import Sequence

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SHARDS = """
create table eventstore.shards (
    shard integer primary key
);
comment on table eventstore.shards is
    'One row per shard of the log. A writer locks the row of its shard until its commit is visible; only the owner may.';

create table eventstore.losses (
    number bigint generated always as identity primary key,
    shard integer not null,
    after_position bigint not null,
    last_position bigint not null,
    "commit" bigint not null,
    hash bytea not null,
    process text not null,
    found_at timestamptz not null default clock_timestamp(),
    settled_at timestamptz,
    unique (shard, after_position, last_position, hash)
);
comment on table eventstore.losses is
    'What a process saw in the log that the log does not have, as after a failover to a replica that lagged behind.';
comment on column eventstore.losses.after_position is
    'The last position that log and process have in common, as far as the process remembers.';
comment on column eventstore.losses.last_position is 'The last position that the process saw.';
comment on column eventstore.losses."commit" is 'The number of the last commit that the process saw; hash is its hash.';
comment on column eventstore.losses.settled_at is 'When somebody said that it was dealt with.';
"""


def upgrade() -> None:
    op.execute(SHARDS)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead of downgrading")
