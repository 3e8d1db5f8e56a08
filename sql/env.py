"""Alembic's entry point: runs the migrations on the connection that `map4_pipeline.store.migrate` hands over."""

from alembic import context

from map4_pipeline.store import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    version_table=schema.VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
