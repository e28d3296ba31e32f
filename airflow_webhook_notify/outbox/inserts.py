"""Inserting a row unless it is there.

Invariant: of any number of processes that insert the same row at the same time, exactly one is told that it did.
"""

from __future__ import annotations

from sqlalchemy import Insert, Table
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from airflow_webhook_notify.outbox.rows import Values


def insert_new(connection: Connection, table: Table, values: Values) -> bool:
    """Insert a row; return False, and change nothing, where one with its key is there."""
    return connection.execute(insert_or_ignore(connection.dialect.name, table), values).rowcount == 1


def insert_or_ignore(dialect: str, table: Table) -> Insert:
    """Return an insert that passes over a row whose key is there.

    :param dialect: SQLAlchemy's name of the database
    """
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    # MySQL has no such clause; IGNORE also passes over what does not fit, which is refused before it gets here.
    return plain_insert(table).prefix_with("IGNORE")
