"""The first tables.

Revision: 0001, after
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "assets",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sector", sa.Text(), nullable=True),
        sa.Column("shares_outstanding", sa.BigInteger(), nullable=True),
        sa.Column("shares_outstanding_date", sa.Date(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("prices_kept_from", sa.Date(), nullable=True),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("role in ('constituent', 'benchmark')", name=op.f("ck_assets_role")),
        sa.CheckConstraint("shares_outstanding > 0", name=op.f("ck_assets_shares_outstanding")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assets")),
        sa.UniqueConstraint("symbol", name=op.f("uq_assets_symbol")),
    )
    op.create_table(
        "credit_ledger",
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("period in ('minute', 'day')", name=op.f("ck_credit_ledger_period")),
        sa.CheckConstraint("used >= 0", name=op.f("ck_credit_ledger_used")),
        sa.PrimaryKeyConstraint("period", "starts_at", name=op.f("pk_credit_ledger")),
    )
    op.create_table(
        "credit_plan",
        sa.Column("singleton", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("per_day", sa.Integer(), nullable=True),
        sa.Column(
            "asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint("singleton", name=op.f("ck_credit_plan_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_credit_plan")),
    )
    op.create_table(
        "data_versions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_data_versions")),
    )
    op.create_table(
        "deliveries",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column(
            "claimed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('claimed', 'sent', 'refused', 'unknown')", name=op.f("ck_deliveries_status")
        ),
        sa.PrimaryKeyConstraint("task_id", "recipient", name=op.f("pk_deliveries")),
    )
    op.create_table(
        "index_levels",
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("frequency", sa.Text(), nullable=False),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("level", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("strategy", "frequency", "session", name=op.f("pk_index_levels")),
    )
    op.create_table(
        "metrics",
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("frequency", sa.Text(), nullable=False),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("values", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("strategy", "frequency", "session", name=op.f("pk_metrics")),
    )
    op.create_table(
        "reports",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("report_type", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_end", sa.Date(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_reports")),
    )
    op.create_table(
        "task_results",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_task_results")),
    )
    op.create_index(
        op.f("ix_task_results_expires_at"), "task_results", ["expires_at"], unique=False
    )
    op.create_table(
        "allocations",
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("frequency", sa.Text(), nullable=False),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("units", sa.Double(), nullable=False),
        sa.CheckConstraint("weight >= 0 and weight <= 1", name=op.f("ck_allocations_weight")),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_allocations_asset_id")),
        sa.PrimaryKeyConstraint(
            "strategy", "frequency", "session", "asset_id", name=op.f("pk_allocations")
        ),
    )
    op.create_table(
        "news_articles",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("headline", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["asset_id"], ["assets.id"], name=op.f("fk_news_articles_asset_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_news_articles")),
        sa.UniqueConstraint("url", name=op.f("uq_news_articles_url")),
    )
    op.create_index(
        op.f("ix_news_articles_published_at"), "news_articles", ["published_at"], unique=False
    )
    op.create_table(
        "prices",
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("open", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("close", sa.Double(), nullable=False),
        sa.Column("volume", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_prices_asset_id")),
        sa.PrimaryKeyConstraint("asset_id", "session", name=op.f("pk_prices")),
    )
    op.create_index("ix_prices_session", "prices", ["session"], unique=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_index("ix_prices_session", table_name="prices")
    op.drop_table("prices")
    op.drop_index(op.f("ix_news_articles_published_at"), table_name="news_articles")
    op.drop_table("news_articles")
    op.drop_table("allocations")
    op.drop_index(op.f("ix_task_results_expires_at"), table_name="task_results")
    op.drop_table("task_results")
    op.drop_table("reports")
    op.drop_table("metrics")
    op.drop_table("index_levels")
    op.drop_table("deliveries")
    op.drop_table("data_versions")
    op.drop_table("credit_plan")
    op.drop_table("credit_ledger")
    op.drop_table("assets")
