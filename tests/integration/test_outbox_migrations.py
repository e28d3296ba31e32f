"""The migrations make what the tables say, and MySQL takes it.

Invariant: Airflow's own metadata database has no part in this, only its way to run the migrations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint, inspect
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, CreateTable

from airflow_webhook_notify.get_provider_info import get_provider_info
from airflow_webhook_notify.outbox import claims, lanes
from airflow_webhook_notify.outbox.db_manager import OutboxDBManager
from airflow_webhook_notify.outbox.inserts import insert_or_ignore
from airflow_webhook_notify.outbox.tables import deliveries, metadata
from tests.integration.outboxes import DATABASES, make_engine, make_url

#: InnoDB's longest key, in bytes.
LONGEST_KEY = 3072
MYSQL: Any = mysql.dialect()


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An empty database that Airflow takes for its own."""
    url = make_url(request.param, request, tmp_path)
    engine = make_engine(url)
    monkeypatch.setattr("airflow.settings.engine", engine)
    monkeypatch.setattr("airflow.settings.SQL_ALCHEMY_CONN", url)
    yield engine
    engine.dispose()


@pytest.fixture
def manager(engine: Engine) -> Iterator[OutboxDBManager]:
    """What `airflow db` uses."""
    with Session(engine) as session:
        yield OutboxDBManager(session)  # type: ignore[no-untyped-call]


def migrate(manager: OutboxDBManager, revision: str = "heads") -> None:
    """Go through the migrations, as on a database of an earlier release."""
    command.upgrade(manager.get_alembic_config(), revision)  # type: ignore[no-untyped-call]


def schema_of(engine: Engine) -> dict[str, Any]:
    """Return all that the database can tell of the outbox's tables."""
    inspector = inspect(engine)
    return {
        table: {
            "columns": [{**column, "type": str(column["type"])} for column in inspector.get_columns(table)],
            "key": inspector.get_pk_constraint(table),
            "unique": sorted(map(str, inspector.get_unique_constraints(table))),
            "checks": sorted(map(str, inspector.get_check_constraints(table))),
            "foreign": inspector.get_foreign_keys(table),
            "indexes": sorted(map(_words_of, inspector.get_indexes(table))),
        }
        for table in sorted(table.name for table in metadata.tables.values())
    }


def _words_of(index: Any) -> str:
    # SQLite's conditions come as objects.
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return str({**index, "dialect_options": options})


def test_the_provider_names_the_manager() -> None:
    assert get_provider_info()["db-managers"] == [f"{OutboxDBManager.__module__}.{OutboxDBManager.__qualname__}"]


def test_the_migrations_make_what_the_tables_say(engine: Engine, manager: OutboxDBManager) -> None:
    migrate(manager)
    migrated = schema_of(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": OutboxDBManager.version_table_name,
                "include_object": lambda _item, name, kind, *_: kind != "table" or f"{name}" in metadata.tables,
            },
        )
        assert compare_metadata(context, metadata) == []
    metadata.drop_all(engine)
    metadata.create_all(engine)
    assert migrated == schema_of(engine)
    assert all(table["checks"] for table in migrated.values())


def test_a_new_database_is_at_the_newest_revision(engine: Engine, manager: OutboxDBManager) -> None:
    assert manager.check_migration() is False  # type: ignore[no-untyped-call]
    manager.initdb()  # type: ignore[no-untyped-call]
    assert manager.check_migration() is True  # type: ignore[no-untyped-call]
    assert set(inspect(engine).get_table_names()) == {
        "alembic_version_webhook_notify", "webhook_notify_attempt", "webhook_notify_delivery", "webhook_notify_webhook",
        "webhook_notify_watch", "webhook_notify_subscription"
    }  # fmt: skip


def test_every_step_goes_back_and_forth(engine: Engine, manager: OutboxDBManager) -> None:
    steps = [step.revision for step in ScriptDirectory.from_config(manager.get_alembic_config()).walk_revisions()]  # type: ignore[no-untyped-call]
    for revision in reversed(steps):
        migrate(manager, revision)
        manager.downgrade("-1")
        migrate(manager, revision)
    manager.downgrade("base")
    assert inspect(engine).get_table_names() == ["alembic_version_webhook_notify"]


def test_the_sql_of_a_migration_can_be_read_first(manager: OutboxDBManager, capsys: pytest.CaptureFixture[str]) -> None:
    manager.upgradedb(to_revision="heads", show_sql_only=True)  # type: ignore[no-untyped-call]
    assert "CREATE TABLE webhook_notify_delivery" in capsys.readouterr().out


def test_the_tables_go_with_airflows(engine: Engine, manager: OutboxDBManager) -> None:
    manager.initdb()  # type: ignore[no-untyped-call]
    manager.session.commit()
    with engine.begin() as connection:
        manager.drop_tables(connection)  # type: ignore[no-untyped-call]
        manager.session.close()
    assert inspect(engine).get_table_names() == []


# MySQL


def test_mysql_takes_the_tables() -> None:
    for table in metadata.tables.values():
        assert "collate utf8mb4_bin" in str(CreateTable(table).compile(dialect=MYSQL)).lower()
        for index in table.indexes:
            assert "WHERE" not in str(CreateIndex(index).compile(dialect=MYSQL))
        keys = [item for item in (*table.indexes, *table.constraints) if not isinstance(item, CheckConstraint)]
        assert keys
        assert max(map(key_length, keys)) <= LONGEST_KEY


def key_length(key: Any) -> int:
    """Return how many bytes a key takes in utf8mb4 at most."""
    assert isinstance(key, Index | UniqueConstraint) or key.columns
    return sum(4 * (c.type.length or 0) if isinstance(c.type, String) else 8 for c in key.columns)


def test_mysql_passes_over_what_others_claim_and_what_is_there() -> None:
    # SQLite and PostgreSQL run these; MySQL's words for them can only be read here.
    assert str(lanes.OF_ONE.compile(dialect=MYSQL)).endswith("FOR UPDATE SKIP LOCKED")
    waiting = str(claims.WAITING.compile(dialect=MYSQL))
    assert waiting.startswith("WITH RECURSIVE waiting(webhook_id) AS")
    assert str(insert_or_ignore("mysql", deliveries).compile(dialect=MYSQL)).startswith("INSERT IGNORE INTO")
