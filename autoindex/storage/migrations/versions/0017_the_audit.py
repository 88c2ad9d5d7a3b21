"""The audit of every act, which begins with the recorded changes of the universe.

Revision: 0017, after 0016
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_KEEP = """
create function audit_keep_entries() returns trigger language plpgsql as $$
begin
    raise insufficient_privilege using message = 'entries of the audit stay as they are';
end
$$
"""
_TRIGGER = """
create trigger audit_keep_entries before update or delete or truncate on audit
for each statement execute function audit_keep_entries()
"""


def upgrade() -> None:
    """Apply the revision."""
    op.rename_table("universe_changes", "audit")
    op.execute("alter index pk_universe_changes rename to pk_audit")
    op.execute("alter sequence universe_changes_id_seq rename to audit_id_seq")
    op.drop_constraint("fk_universe_changes_asset_id", "audit")
    op.alter_column("audit", "changed_at", new_column_name="at")
    op.alter_column("audit", "changed_by", new_column_name="user_name")
    for column in (
        sa.Column("request_id", sa.Text()),
        sa.Column("action", sa.Text(), nullable=False, server_default="change asset"),
        sa.Column("subject", sa.Text()),
        sa.Column("before", postgresql.JSONB()),
        sa.Column("after", postgresql.JSONB()),
    ):
        op.add_column("audit", column)
    op.execute("""
        update audit set subject = asset_id, after = jsonb_build_object('state', change),
            action = case when former_symbol is null then action else 'rename asset' end,
            before = jsonb_build_object('symbol', former_symbol)
    """)
    op.execute("update audit set before = null where action <> 'rename asset'")
    op.alter_column("audit", "action", server_default=None)
    for name in ("asset_id", "change", "former_symbol"):
        op.drop_column("audit", name)
    op.create_index("ix_audit_subject", "audit", ["subject"])
    op.execute(_KEEP)
    op.execute(_TRIGGER)


def downgrade() -> None:
    """Take it back; only the changes of the universe are kept."""
    op.execute("drop function audit_keep_entries() cascade")
    op.drop_index("ix_audit_subject", "audit")
    op.execute("delete from audit where action not in ('change asset', 'rename asset')")
    op.rename_table("audit", "universe_changes")
    op.execute("alter index pk_audit rename to pk_universe_changes")
    op.execute("alter sequence audit_id_seq rename to universe_changes_id_seq")
    op.alter_column("universe_changes", "at", new_column_name="changed_at")
    op.alter_column("universe_changes", "user_name", new_column_name="changed_by")
    for column in (
        sa.Column("asset_id", sa.Integer()),
        sa.Column("change", sa.Text(), nullable=False, server_default=""),
        sa.Column("former_symbol", sa.Text()),
    ):
        op.add_column("universe_changes", column)
    op.execute("""
        update universe_changes set change = after ->> 'state', former_symbol = before ->> 'symbol',
            asset_id = (select id from assets where id = cast(subject as integer))
    """)
    op.alter_column("universe_changes", "change", server_default=None)
    op.create_foreign_key(
        "fk_universe_changes_asset_id",
        "universe_changes",
        "assets",
        ["asset_id"],
        ["id"],
        ondelete="SET NULL",
    )
    for name in ("request_id", "action", "subject", "before", "after"):
        op.drop_column("universe_changes", name)
