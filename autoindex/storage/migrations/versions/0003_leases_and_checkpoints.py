"""Leases on running tasks, and what one attempt of a task leaves to the next.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "leases",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deaths", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_leases")),
    )
    op.create_index("ix_leases_expires_at", "leases", ["expires_at"])
    op.create_table(
        "checkpoints",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("retries", JSONB(), server_default="{}", nullable=False),
        sa.Column("done", JSONB(), server_default="{}", nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_checkpoints")),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("checkpoints")
    op.drop_table("leases")
