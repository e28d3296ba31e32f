"""Which index answers what, so that a table that grows does not slow the outbox down.

Invariant: SQLite's plans of a small table, and PostgreSQL's of one that it would not read whole; figures are in
tests/bench.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from airflow_webhook_notify.models import DeliveryState
from airflow_webhook_notify.outbox.records import DeliveryFilter
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.outbox.tables import metadata
from tests.integration.outboxes import LEASE, T0, OutboxUnderTest, make_engine
from tests.postgres import PostgresServer


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An outbox with a delivery that waits."""
    engine = make_engine(f"sqlite:///{tmp_path / 'outbox.db'}")
    metadata.create_all(engine)
    OutboxUnderTest(Outbox(engine)).enqueue(1)
    yield engine
    engine.dispose()


def plans(engine: Engine, call: Callable[[Outbox], object]) -> list[str]:
    """Return how the database finds the rows of deliveries that a call reads."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(("SELECT", "WITH")):
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    call(Outbox(engine))
    event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
        steps = [
            row[-1]
            for statement, parameters in statements
            for row in connection.exec_driver_sql(f"{explain} {statement}", parameters)
        ]
    return [step for step in steps if "webhook_notify_delivery" in step]


def claim(outbox: Outbox) -> object:
    """Claim whatever is due."""
    return outbox.claim(now=T0, lease=LEASE, limit=9, capacity=lambda _: 9)


def listed(**wanted: Any) -> Callable[[Outbox], object]:
    """Return what reads a page of the log."""
    return lambda outbox: outbox.deliveries(DeliveryFilter(**wanted))


@pytest.mark.parametrize(
    ("call", "index"),
    [
        (claim, "due"),
        (lambda outbox: outbox.next_due(now=T0), "due"),
        (lambda outbox: outbox.backlog(), "due"),
        (listed(), "created_at"),
        (listed(webhook_id="ops"), "webhook_id_created_at"),
        (listed(dag_id="etl"), "dag_id_created_at"),
        (listed(state=DeliveryState.DEAD_LETTER), "ended"),
        (listed(state=DeliveryState.CANCELLED), "ended"),
        (listed(webhook_ids=frozenset({"ops", "other"})), "created_at"),
        (lambda outbox: list(outbox.prune(before=T0)), "created_at"),
    ],
)
def test_an_index_answers(engine: Engine, call: Callable[[Outbox], object], index: str) -> None:
    steps = plans(engine, call)
    assert steps
    assert all(f"INDEX idx_webhook_notify_delivery_{index} " in f"{step} " for step in steps), steps


def test_the_overview_reads_no_delivered_row(engine: Engine) -> None:
    steps = plans(engine, lambda outbox: outbox.traffic(["ops", "other"], now=T0))
    index = "INDEX idx_webhook_notify_delivery_"
    taken, waiting, ended, *newest = (step.partition("webhook_notify_delivery ")[2] for step in steps)
    assert taken.startswith(f"USING COVERING {index}webhook_id_created_at (webhook_id=? AND created_at>?)")
    assert waiting.startswith(f"USING {index}due (state=? AND webhook_id=?)")
    assert ended.startswith(f"USING COVERING {index}ended_webhook_id (state=? AND webhook_id=?)")
    assert newest
    assert all("COVERING" in step or step == ONE_ROW for step in newest), newest


ONE_ROW = "USING INDEX sqlite_autoindex_webhook_notify_delivery_1 (id=?)"


def test_the_webhooks_of_the_log_are_found_in_an_index(engine: Engine) -> None:
    steps = plans(engine, lambda outbox: outbox.webhook_ids())
    assert steps
    assert all("USING COVERING INDEX" in step for step in steps), steps


def test_what_is_cancelled_is_found_by_webhook_and_then_by_id(engine: Engine) -> None:
    first, second, *_ = plans(engine, lambda outbox: list(outbox.cancel_waiting("ops")))
    assert first.endswith("USING INDEX idx_webhook_notify_delivery_due (state=? AND webhook_id=?)")
    assert second.endswith(ONE_ROW)


FILL = """
    INSERT INTO webhook_notify_delivery (id, webhook_id, event_id, topic, event_at, organization_id, resource, data,
      state, is_manual, created_at, due_at, attempts_count, schedule_start, delivered_at)
    SELECT 'd-' || i, 'webhook-' || (i % 50), 'e-' || i, 'webhook.ping', 0, 'org', 'x', repeat('x', 500),
      CASE i % 100 WHEN 0 THEN 'pending' WHEN 1 THEN 'dead_letter' ELSE 'delivered' END, false,
      {now} - (20000 - i) * CAST(129600 AS bigint), CASE WHEN i % 100 = 0 THEN {now} END, 1, 0,
      CASE WHEN i % 100 > 1 THEN {now} END
    FROM generate_series(1, 20000) i
"""


def test_postgresql_reads_no_table_whole(postgres: PostgresServer) -> None:
    engine = make_engine(postgres.create_database("plans"))
    metadata.create_all(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(FILL.format(now=T0)))
        connection.exec_driver_sql("VACUUM ANALYZE webhook_notify_delivery")
    ids = [f"webhook-{number}" for number in range(50)]
    calls: list[Callable[[Outbox], object]] = [
        lambda outbox: outbox.traffic(ids, now=T0),
        lambda outbox: outbox.traffic(ids[:1], now=T0),
        lambda outbox: outbox.webhook_ids(),
        lambda outbox: outbox.webhooks_of(["d-1", "d-2"]),
        lambda outbox: list(outbox.cancel_waiting("webhook-7")),
        listed(map_index=3, dag_id="etl", run_id="r"),
    ]
    for call in calls:
        steps = plans(engine, call)
        assert steps
        assert not [step for step in steps if "Seq Scan" in step], steps
    engine.dispose()
