"""Check the assets of prices once a statement, not once a row.

A foreign key looks its row up for each of a million prices, which takes longer than loading them.
These triggers hold the same: no price without its asset, whoever writes, and no asset leaves while
it has prices. As a foreign key does, the first locks the assets it has seen until the transaction
ends, so that none goes in between.

Revision: 0002, after 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PRICES_NAME_ASSETS = """
create function prices_name_assets() returns trigger language plpgsql as $$
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
        using message = format('prices of asset %s, which assets lacks', missing);
    end if;
    return null;
end
$$
"""
_ASSETS_KEEP_PRICES = """
create function assets_keep_prices() returns trigger language plpgsql as $$
begin
    if exists (select from prices where asset_id = old.id) then
        raise foreign_key_violation
        using message = format('asset %s still has prices', old.id);
    end if;
    return case tg_op when 'DELETE' then old else new end;
end
$$
"""


def upgrade() -> None:
    """Apply the revision."""
    op.drop_constraint("fk_prices_asset_id", "prices", type_="foreignkey")
    op.execute(_PRICES_NAME_ASSETS)
    op.execute(_ASSETS_KEEP_PRICES)
    for event in ("insert", "update"):
        op.execute(
            f"create trigger prices_name_assets_on_{event} after {event} on prices "
            "referencing new table as written "
            "for each statement execute function prices_name_assets()"
        )
    op.execute(
        "create trigger assets_keep_prices before delete or update of id on assets "
        "for each row execute function assets_keep_prices()"
    )


def downgrade() -> None:
    """Take it back."""
    op.execute("drop function assets_keep_prices() cascade")
    op.execute("drop function prices_name_assets() cascade")
    op.create_foreign_key("fk_prices_asset_id", "prices", "assets", ["asset_id"], ["id"])
