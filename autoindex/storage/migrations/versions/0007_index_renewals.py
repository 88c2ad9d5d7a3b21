"""From which session on an index no longer follows from the stored prices.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "index_renewals",
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("frequency", sa.Text(), nullable=False),
        sa.Column("due_from", sa.Date(), nullable=True),
        sa.Column("changes", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("strategy", "frequency", name=op.f("pk_index_renewals")),
    )
    op.execute(
        "insert into index_renewals (strategy, frequency, due_from) "
        "select distinct strategy, frequency, ("
        # A refresh that is under way has noted it for itself alone.
        "    select min((done #>> '{counts,first_changed}')::date) from checkpoints"
        ") from index_levels"
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("index_renewals")
