"""What the outbox says when its database can't.

Invariant: whatever the database does, the caller gets one of the outbox's two errors, in one line without values.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from airflow_webhook_notify.exceptions import OutboxMissingError, OutboxUnavailableError
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.outbox.tables import attempts, deliveries, metadata
from tests.integration.outboxes import DATABASES, T0, OutboxUnderTest, make_delivery, make_engine, make_url
from tests.processes import free_port

SECRET = "never-in-an-error"
_COLUMNS = ", ".join(f"{column.name} text" for column in deliveries.columns)
_STRICT = f"CREATE TABLE {deliveries.name} ({_COLUMNS}, CHECK (state = 'never'))"


@pytest.mark.parametrize("name", DATABASES)
def test_tables_that_were_never_made_name_the_command(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    engine = make_engine(make_url(name, request, tmp_path))
    outbox = Outbox(engine)
    calls = (
        outbox.check,
        lambda: outbox.enqueue(make_delivery(1), now=T0),
        lambda: outbox.claim(now=T0, lease=1, limit=1, capacity=lambda _: 1),
        outbox.deliveries,
        lambda: list(outbox.prune(before=T0)),
    )
    for call in calls:
        with pytest.raises(OutboxMissingError, match=r"^the outbox's tables are missing .*run `airflow db migrate`$"):
            call()
    engine.dispose()


def test_tables_of_an_older_release_name_the_command(box: OutboxUnderTest) -> None:
    box.outbox.check()
    with box.outbox.engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {attempts.name} DROP COLUMN final"))
    with pytest.raises(OutboxMissingError):
        box.outbox.check()


def test_a_locked_database(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'outbox.db'}", patience=0)
    metadata.create_all(engine)
    outbox = Outbox(engine)
    with engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(OutboxUnavailableError, match="database is locked"):
            outbox.enqueue(make_delivery(1), now=T0)
        other.exec_driver_sql("ROLLBACK")
    assert outbox.enqueue(make_delivery(1), now=T0).created
    engine.dispose()


def test_a_full_disk_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'outbox.db'}", pool_size=1, max_overflow=0)
    metadata.create_all(engine)
    outbox = Outbox(engine)
    outbox.enqueue(make_delivery(0), now=T0)
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(OutboxUnavailableError, match="full") as raised:
        outbox.enqueue(make_delivery(1, "ops", filler=SECRET * 4000), now=T0)
    assert SECRET not in str(raised.value)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert len(outbox.claim(now=T0, lease=1000, limit=9, capacity=lambda _: 9)) == 1
    assert outbox.enqueue(make_delivery(1), now=T0).created
    engine.dispose()


def test_a_database_that_nobody_serves() -> None:
    engine = create_engine(f"postgresql+psycopg2://airflow:{SECRET}@127.0.0.1:{free_port()}/airflow")
    with pytest.raises(OutboxUnavailableError, match="Connection refused") as raised:
        Outbox(engine).enqueue(make_delivery(1), now=T0)
    assert SECRET not in str(raised.value)


def test_an_error_quotes_no_row(box: OutboxUnderTest) -> None:
    # PostgreSQL's words on a row that it refuses go on with the whole row.
    with box.outbox.engine.begin() as connection:
        connection.execute(text("DROP TABLE webhook_notify_attempt"))
        connection.execute(text("DROP TABLE webhook_notify_delivery"))
        connection.execute(text(_STRICT))
    with pytest.raises(OutboxUnavailableError) as raised:
        box.outbox.enqueue(make_delivery(1, "ops", filler=SECRET), now=T0)
    assert "constraint" in str(raised.value)
    assert SECRET not in str(raised.value)


def test_a_process_without_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow.settings.engine", None)
    with pytest.raises(OutboxUnavailableError, match="no access"):
        Outbox().enqueue(make_delivery(1), now=T0)
