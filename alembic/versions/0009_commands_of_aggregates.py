"""A command's id is unique within its aggregate, and no longer within its shard."""

from collections.abc import Sequence

from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COMMANDS = """
alter table eventstore.commands
    drop constraint commands_pkey,
    add primary key (shard, command_id, aggregate_id, aggregate_type);
comment on column eventstore.commands.command_id is
    'What the sender called it: unique within its aggregate, so that nobody''s ids are in anybody else''s way.';
"""


def upgrade() -> None:
    op.execute(COMMANDS)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead of downgrading")
