"""The database knows whose code it has."""

from collections.abc import Sequence

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

PROGRAM = """
alter table eventstore.log_info add column program text;
comment on column eventstore.log_info.program is
    'The version of the program that replaced the code last. An older program refuses the database.';
"""


def upgrade() -> None:
    op.execute(PROGRAM)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead of downgrading")
