"""When each asset is a member, in which role, and how many shares it has when.

What was published is kept: an active asset is a member from the beginning, an inactive one up to
the newest stored level. `assets` is locked last, so that its readers wait for no query.

Revision: 0011, after 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the revision."""
    _create_memberships()
    _create_share_counts()
    _create_changes()
    op.execute("""
        insert into memberships (asset_id, role, first, last)
        select id, role, date '0001-01-01',
            case when active then date '9999-12-31' else newest.session end
        from assets, (select max(session) as session from index_levels) as newest
        where active or newest.session is not null
    """)
    op.execute("""
        insert into share_counts (asset_id, first, shares, as_of, basis, imported)
        select id, as_of, shares_outstanding, as_of, changed, shares_outstanding
        from assets,
            lateral (select (updated_at at time zone 'UTC')::date as changed) as latest,
            lateral (select coalesce(shares_outstanding_date, changed) as as_of) as dated
        where shares_outstanding is not null
    """)
    for column in ("shares_outstanding", "shares_outstanding_date", "role", "active"):
        op.drop_column("assets", column)


def _create_memberships() -> None:
    op.create_table(
        "memberships",
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("first", sa.Date(), nullable=False),
        sa.Column("last", sa.Date(), nullable=False),
        sa.CheckConstraint(
            "role in ('constituent', 'benchmark')", name=op.f("ck_memberships_role")
        ),
        sa.CheckConstraint("first <= last", name=op.f("ck_memberships_order")),
        sa.ForeignKeyConstraint(
            ["asset_id"], ["assets.id"], name=op.f("fk_memberships_asset_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("asset_id", "first", name=op.f("pk_memberships")),
        postgresql.ExcludeConstraint(
            (sa.text("int4range(asset_id, asset_id, '[]')"), "&&"),
            (sa.text("daterange(first, last, '[]')"), "&&"),
            using="gist",
            name="one_role_at_a_time",
        ),
    )


def _create_share_counts() -> None:
    op.create_table(
        "share_counts",
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.Date(), nullable=False),
        sa.Column("shares", sa.Double(), nullable=True),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("basis", sa.Date(), nullable=False),
        sa.Column("imported", sa.Double(), nullable=True),
        sa.CheckConstraint("shares > 0", name=op.f("ck_share_counts_shares")),
        sa.ForeignKeyConstraint(
            ["asset_id"], ["assets.id"], name=op.f("fk_share_counts_asset_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("asset_id", "first", name=op.f("pk_share_counts")),
    )


def _create_changes() -> None:
    op.create_table(
        "universe_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=True),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("former_symbol", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["asset_id"],
            ["assets.id"],
            name=op.f("fk_universe_changes_asset_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_universe_changes")),
    )


def downgrade() -> None:
    """Take it back; of an asset's memberships and share counts, the newest is kept."""
    op.add_column("assets", sa.Column("shares_outstanding", sa.BigInteger()))
    op.add_column("assets", sa.Column("shares_outstanding_date", sa.Date()))
    op.add_column("assets", sa.Column("role", sa.Text(), server_default="constituent"))
    op.add_column("assets", sa.Column("active", sa.Boolean(), server_default="false"))
    op.execute("""
        update assets set role = newest.role, active = newest.last = date '9999-12-31'
        from (select distinct on (asset_id) * from memberships order by asset_id, first desc)
            as newest
        where newest.asset_id = assets.id
    """)
    op.execute("""
        update assets set shares_outstanding = newest.shares, shares_outstanding_date = newest.as_of
        from (select distinct on (asset_id) * from share_counts order by asset_id, first desc)
            as newest
        where newest.asset_id = assets.id
    """)
    op.alter_column("assets", "role", nullable=False, server_default=None)
    op.alter_column("assets", "active", nullable=False, server_default="true")
    op.create_check_constraint(
        op.f("ck_assets_role"), "assets", "role in ('constituent', 'benchmark')"
    )
    op.create_check_constraint(
        op.f("ck_assets_shares_outstanding"), "assets", "shares_outstanding > 0"
    )
    for table in ("universe_changes", "share_counts", "memberships"):
        op.drop_table(table)
