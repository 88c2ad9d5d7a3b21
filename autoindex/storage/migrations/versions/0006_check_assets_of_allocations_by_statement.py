"""Check the assets of allocations once a statement too, as those of prices are.

A foreign key takes more than half of the time of storing a weekly index of 500 symbols. See
revision 0002 for what the triggers hold.

Revision: 0006, after 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NAME_ASSETS = """
create function allocations_name_assets() returns trigger language plpgsql as $$
declare
    missing integer;
begin
    with named as materialized (select distinct asset_id from written),
         known as materialized (
             select id from assets where id in (select asset_id from named) for key share
         )
    select asset_id into missing from named where asset_id not in (select id from known) limit 1;
    if found then
        raise foreign_key_violation
        using message = format('allocations to asset %s, which assets lacks', missing);
    end if;
    return null;
end
$$
"""
_KEEP_ALLOCATIONS = """
create function assets_keep_allocations() returns trigger language plpgsql as $$
begin
    if exists (select from allocations where asset_id = old.id) then
        raise foreign_key_violation
        using message = format('asset %s still has allocations', old.id);
    end if;
    return case tg_op when 'DELETE' then old else new end;
end
$$
"""


def upgrade() -> None:
    """Apply the revision."""
    op.drop_constraint("fk_allocations_asset_id", "allocations", type_="foreignkey")
    op.execute(_NAME_ASSETS)
    op.execute(_KEEP_ALLOCATIONS)
    for event in ("insert", "update"):
        op.execute(
            f"create trigger allocations_name_assets_on_{event} after {event} on allocations "
            "referencing new table as written "
            "for each statement execute function allocations_name_assets()"
        )
    op.execute(
        "create trigger assets_keep_allocations before delete or update of id on assets "
        "for each row execute function assets_keep_allocations()"
    )


def downgrade() -> None:
    """Take it back."""
    op.execute("drop function assets_keep_allocations() cascade")
    op.execute("drop function allocations_name_assets() cascade")
    op.create_foreign_key("fk_allocations_asset_id", "allocations", "assets", ["asset_id"], ["id"])
