"""Which index answers what, so that a table that grows does not slow the outbox down.

Invariant: SQLite's plans, since PostgreSQL reads a small table whole; its figures are in tests/bench.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from airflow_webhook_notify.models import DeliveryState
from airflow_webhook_notify.outbox.records import DeliveryFilter
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.outbox.tables import metadata
from tests.integration.outboxes import LEASE, T0, OutboxUnderTest, make_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An outbox with a delivery that waits."""
    engine = make_engine(f"sqlite:///{tmp_path / 'outbox.db'}")
    metadata.create_all(engine)
    OutboxUnderTest(Outbox(engine)).enqueue(1)
    yield engine
    engine.dispose()


def plans(engine: Engine, call: Callable[[Outbox], object]) -> list[str]:
    """Return how SQLite finds the rows of deliveries that a call reads."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(("SELECT", "WITH")):
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    call(Outbox(engine))
    event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        steps = [
            row.detail
            for statement, parameters in statements
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
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
        (lambda outbox: list(outbox.prune(before=T0)), "created_at"),
    ],
)
def test_an_index_answers(engine: Engine, call: Callable[[Outbox], object], index: str) -> None:
    steps = plans(engine, call)
    assert steps
    assert all(f"INDEX idx_webhook_notify_delivery_{index} " in f"{step} " for step in steps), steps
