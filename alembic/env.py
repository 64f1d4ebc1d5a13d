"""Runs the migrations on the connection that ``foldbook.postgres.migrations`` hands over, inside its transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="eventstore",
)
context.run_migrations()
