"""What Alembic runs to take the outbox's tables from one revision to another.

Invariant: it sees the outbox's tables and version table, and never Airflow's, though they share the database.
"""

from __future__ import annotations

from airflow import settings
from alembic import context
from sqlalchemy.engine import Connection
from sqlalchemy.schema import SchemaItem

from airflow_webhook_notify.outbox.db_manager import OutboxDBManager
from airflow_webhook_notify.outbox.transactions import airflow_engine

METADATA = OutboxDBManager.metadata
OWN_TABLES = frozenset(table.name for table in METADATA.tables.values())


def include_object(
    _item: SchemaItem, name: str | None, kind: str, _reflected: bool, _compare_to: SchemaItem | None
) -> bool:
    """Return whether Alembic is to look at it."""
    return kind != "table" or name in OWN_TABLES


def run_offline() -> None:
    """Write the SQL, without a database."""
    context.configure(
        url=settings.SQL_ALCHEMY_CONN,
        target_metadata=METADATA,
        version_table=OutboxDBManager.version_table_name,
        include_object=include_object,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online(connection: Connection) -> None:
    """Change the database."""
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        version_table=OutboxDBManager.version_table_name,
        include_object=include_object,
        transaction_per_migration=True,
        # SQLite can't alter a column: Alembic then makes the table anew.
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    with airflow_engine().connect() as _connection:
        run_online(_connection)
