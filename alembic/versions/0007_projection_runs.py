"""Runs of projections have numbers, so that one that lost its turn changes nothing any more."""

from collections.abc import Sequence

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NUMBER = """
alter table eventstore.projection_runs add column number bigint not null default 0;
comment on column eventstore.projection_runs.number is 'How many runs the projection has had.';
"""


def upgrade() -> None:
    op.execute(NUMBER)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead of downgrading")
