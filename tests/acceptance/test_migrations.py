"""`airflow db` and the outbox's tables, on SQLite and PostgreSQL.

Invariant: only the commands that an operator types.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import Engine

from tests.acceptance.airflow_under_test import AirflowUnderTest
from tests.postgres import PostgresServer

#: In an order in which they can be dropped. They are named here, since importing them would import Airflow.
OWN_TABLES = (
    "webhook_notify_attempt",
    "webhook_notify_delivery",
    "webhook_notify_webhook",
    "webhook_notify_watch",
    "webhook_notify_subscription",
    "alembic_version_webhook_notify",
)
CHECK = ("db", "check-migrations", "--migration-wait-timeout", "1")


class Database:
    """An Airflow that is not started, and its metadata database."""

    def __init__(self, airflow: AirflowUnderTest, url: str) -> None:
        self.airflow = airflow
        self.engine: Engine = create_engine(url)

    @property
    def own_tables(self) -> tuple[str, ...]:
        """Which of the outbox's tables are there."""
        there = inspect(self.engine).get_table_names()
        return tuple(table for table in OWN_TABLES if table in there)

    @property
    def webhooks(self) -> list[str]:
        """The webhooks that the outbox knows something of."""
        with self.engine.connect() as connection:
            return list(connection.execute(text("SELECT webhook_id FROM webhook_notify_webhook")).scalars())

    def add_webhook(self) -> None:
        """Put one row there, to see what becomes of it."""
        with self.engine.begin() as connection:
            connection.execute(text("INSERT INTO webhook_notify_webhook (webhook_id) VALUES ('ops')"))

    def is_migrated(self) -> bool:
        """Return what `airflow db check-migrations` says."""
        return self.airflow.cli(*CHECK, check=False).returncode == 0

    def remove_outbox(self) -> None:
        """Make the database what it was before this package was installed."""
        with self.engine.begin() as connection:
            for table in OWN_TABLES:
                connection.execute(text(f"DROP TABLE {table}"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database that `airflow db migrate` has just made."""
    url = f"sqlite:///{tmp_path / 'airflow.db'}"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database(f"airflow_{tmp_path.name}")
    made = Database(AirflowUnderTest(tmp_path, tmp_path / "dags", database=url), url)
    made.airflow.cli("db", "migrate")
    yield made
    made.engine.dispose()


def test_a_database_lives_through_all_that_airflow_db_does(database: Database) -> None:
    assert database.own_tables == OWN_TABLES
    assert database.is_migrated()

    # The package came later than the database.
    database.remove_outbox()
    assert not database.is_migrated()
    database.airflow.cli("db", "migrate")
    assert database.own_tables == OWN_TABLES

    # Airflow goes back a release and forth again, and nothing of the outbox is lost.
    database.add_webhook()
    database.airflow.cli("db", "downgrade", "--to-version", "3.1.0", "--yes")
    assert database.webhooks == ["ops"]
    database.airflow.cli("db", "migrate")
    assert database.webhooks == ["ops"]

    database.airflow.cli("db", "reset", "--yes")
    assert database.own_tables == OWN_TABLES
    assert database.webhooks == []
    assert database.is_migrated()
