"""What a projection may skip is decided for a definition of it, and a reason is given."""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SKIPPING = """
alter table eventstore.subscriptions add column if not exists definition_hash text;
comment on column eventstore.subscriptions.definition_hash is
    'Of a projection: the SHA-256 of what this copy of it was made from.';
update eventstore.subscriptions s
set definition_hash = p.definition_hash
from eventstore.projections p
where p.name = s.name;

-- It tells how many were skipped, and a function can't be replaced by one that returns another row.
drop function if exists eventstore.projection_status(text);

drop table eventstore.dead_letters; -- Nothing wrote to it.
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
    'The definition that could not fold the event. Another one tries, and if it fails too the decision holds for it.';
comment on column eventstore.dead_letters.error is 'What the subscription was stopped with.';
"""


def upgrade() -> None:
    op.execute(SKIPPING)


def downgrade() -> None:
    raise NotImplementedError("the log is append-only: restore a backup instead of downgrading")
