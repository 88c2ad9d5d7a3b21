"""What later computations have replaced of allocations and metrics, for earlier answers.

Only new tables: what is stored already is what was published until now.

Revision: 0015, after 0014
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "superseded_allocations",
        *_replaced(),
        sa.Column("asset_ids", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("weights", sa.ARRAY(sa.Double()), nullable=False),
        _key("superseded_allocations"),
    )
    op.create_table(
        "superseded_metrics",
        *_replaced(),
        sa.Column("values", postgresql.JSONB(), nullable=False),
        _key("superseded_metrics"),
    )


def _replaced() -> list[sa.Column[Any]]:
    return [
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("frequency", sa.Text(), nullable=False),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=False),
    ]


def _key(table: str) -> sa.PrimaryKeyConstraint:
    columns = ("strategy", "frequency", "session", "replaced_at")
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def downgrade() -> None:
    """Take it back; what was replaced is lost."""
    op.drop_table("superseded_metrics")
    op.drop_table("superseded_allocations")
