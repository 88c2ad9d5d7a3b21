"""Publications, the versions of a level, and corrections in place of recompute marks.

What is stored already becomes version 1 of each index's first publication, made when the first
report or result was, or now. No row of a level is written: the columns' defaults say the same.

Revision: 0012, after 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "publications",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        *_which(),
        sa.Column("first", sa.Date(), nullable=False),
        sa.Column("last", sa.Date(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.Column(
            "published_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publications")),
    )
    op.create_index("ix_publications_strategy", "publications", ["strategy", "frequency", "id"])
    op.create_table(
        "superseded_levels",
        *_which(),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("level", sa.Double(), nullable=False),
        sa.Column("publication", sa.Integer(), nullable=False),
        sa.Column("replaced_by", sa.Integer(), nullable=False),
        sa.Column("missing", sa.ARRAY(sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint(
            "strategy", "frequency", "session", "version", name=op.f("pk_superseded_levels")
        ),
    )
    op.create_table(
        "corrections",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        *_which(),
        sa.Column("asset_id", sa.Integer(), nullable=True),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=True),
        sa.Column(
            "noted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
    )
    op.create_index("ix_corrections_strategy", "corrections", ["strategy", "frequency"])
    op.execute(
        "insert into publications (strategy, frequency, first, last, cause, published_at) "
        "select strategy, frequency, min(session), max(session), "
        "'published before versions were kept', "
        # `least` ignores nulls.
        "least(now(), (select min(created_at) from reports), (select min(created_at) "
        "from task_results where kind in ('refresh', 'compute'))) "
        "from index_levels group by strategy, frequency order by strategy, frequency"
    )
    op.execute(
        "insert into corrections (strategy, frequency, session, reason, pending) "
        "select r.strategy, r.frequency, r.due_from, 'closes changed', false "
        "from index_renewals r where r.due_from is not null"
    )
    op.drop_table("index_renewals")
    # At the end: it stops readers until the commit.
    op.add_column(
        "index_levels", sa.Column("publication", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column(
        "index_levels", sa.Column("version", sa.Integer(), server_default="1", nullable=False)
    )
    op.add_column("index_levels", sa.Column("missing", sa.ARRAY(sa.Text()), nullable=True))


def _which() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in ("strategy", "frequency")]


def downgrade() -> None:
    """Take it back; what was replaced is lost."""
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
        "select p.strategy, p.frequency, min(c.session) from publications p "
        "left join corrections c using (strategy, frequency) group by p.strategy, p.frequency"
    )
    op.drop_column("index_levels", "missing")
    op.drop_column("index_levels", "version")
    op.drop_column("index_levels", "publication")
    for table in ("corrections", "superseded_levels", "publications"):
        op.drop_table(table)
