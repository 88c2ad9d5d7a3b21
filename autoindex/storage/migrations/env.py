"""Alembic's entry: runs the revisions on the connection handed in by `migrate.upgrade`."""

from alembic import context

from autoindex.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
