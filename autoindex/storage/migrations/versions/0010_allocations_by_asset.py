"""An index of allocations by asset: a split restates one asset's, and must not read all others.

Revision: 0010, after 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_index("ix_allocations_asset_id", "allocations", ["asset_id"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index("ix_allocations_asset_id", "allocations")
