"""Connections of the outbox's own, and what their failures mean.

Invariant: what is written is committed whole or not at all, and an error text holds nothing of a statement's values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from airflow_webhook_notify.exceptions import OutboxMissingError, OutboxUnavailableError

#: "No such table" and "no such column": PostgreSQL's SQLSTATE, MySQL's error number, SQLite's words.
_MISSING_STATES = ("42P01", "42703", "3F000")
_MISSING_NUMBERS = (1146, 1054)
_MISSING_WORDS = ("no such table", "no such column", "has no column named")


def airflow_engine() -> Engine:
    """Return the engine of Airflow's metadata database.

    :raises OutboxUnavailableError: in a process that has no metadata database, such as a task's
    """
    from airflow import settings

    if settings.engine is None:
        raise OutboxUnavailableError("this process has no access to Airflow's metadata database")
    return settings.engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection to read on."""
    with explained(), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose transaction is committed at the end, or rolled back where the block raises."""
    begin = _immediate if engine.dialect.name == "sqlite" else _ordinary
    with explained(), begin(engine) as connection:
        yield connection


@contextmanager
def explained() -> Iterator[None]:
    """Turn SQLAlchemy's errors into ours."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _explain(error) from error


@contextmanager
def _ordinary(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        yield connection


@contextmanager
def _immediate(engine: Engine) -> Iterator[Connection]:
    # A transaction that reads first and then writes fails at once where another has written meanwhile: SQLite's
    # timeout only helps one that asks for the write lock at its beginning, and Python's driver never asks.
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise


def _roll_back(connection: Connection) -> None:
    # SQLite has rolled back by itself after some errors (a full disk), and then refuses to do so again.
    if getattr(connection.connection.dbapi_connection, "in_transaction", False):
        connection.exec_driver_sql("ROLLBACK")


def _explain(error: SQLAlchemyError) -> OutboxUnavailableError:
    original = getattr(error, "orig", None)
    if isinstance(error, DBAPIError) and _is_missing(original):
        return OutboxMissingError("the outbox's tables are missing or too old; run `airflow db migrate`")
    # The first line names the problem; the next ones may quote the row.
    words = (str(original or error).strip() or type(error).__name__).splitlines()[0]
    return OutboxUnavailableError(f"the outbox can't be used: {words[:200]}")


def _is_missing(original: BaseException | None) -> bool:
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state in _MISSING_STATES:
        return True
    arguments = original.args if original is not None else ()
    if arguments and arguments[0] in _MISSING_NUMBERS:
        return True
    return any(words in str(original) for words in _MISSING_WORDS)
