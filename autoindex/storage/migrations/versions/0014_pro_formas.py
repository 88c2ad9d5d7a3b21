"""Pro-formas: what the next rebalance of each index decides if no close changes until then.

Revision: 0014, after 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision; the next computation of an index stores its pro-forma."""
    op.create_table(
        "pro_formas",
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("frequency", sa.Text(), nullable=False),
        sa.Column("decided_with", sa.Date(), nullable=False),
        sa.Column("next_rebalance", sa.Date(), nullable=False),
        sa.Column("turnover", sa.Double(), nullable=False),
        sa.Column("asset_ids", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("weights", sa.ARRAY(sa.Double()), nullable=False),
        sa.Column("current_weights", sa.ARRAY(sa.Double()), nullable=False),
        sa.PrimaryKeyConstraint("strategy", "frequency", name=op.f("pk_pro_formas")),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("pro_formas")
