"""The outbox of the metadata database, for the tests of the commands.

Invariant: each test begins and ends with empty tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from airflow.models.connection import Connection
from airflow.models.log import Log
from airflow.utils.session import create_session
from sqlalchemy import delete

from airflow_webhook_notify.models import Attempt, Delivery, DeliveryState, Event, derived_id
from airflow_webhook_notify.outbox import tables
from airflow_webhook_notify.outbox.records import Claim, Result
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.retry import Disposition, dispose, parse_schedule
from tests.integration.outboxes import make_engine

#: One retry, then a dead letter.
SCHEDULE = parse_schedule("60")
LEASE = 60_000


def clear_outbox() -> None:
    """Empty the tables."""
    with Outbox().engine.begin() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(delete(table))


def clear_all() -> None:
    """Empty the tables, and take what the commands made out of Airflow's own: webhooks, and lines of the audit log."""
    clear_outbox()
    with create_session(scoped=False) as session:
        session.execute(delete(Connection).where(Connection.conn_type == "webhook"))
        session.execute(delete(Log))


def hide_outbox(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the outbox be one that was never migrated; Airflow's own sessions keep their database."""
    monkeypatch.setattr("airflow.settings.engine", make_engine(f"sqlite:///{folder / 'empty.db'}"))


def make_event(number: int = 0, *, topic: str = "job.execution.failed", **airflow: object) -> Event:
    """Return an event about a job execution, always the same for a number."""
    data = {"Id": "execution", "State": "failed", "Airflow": {"DagId": "etl", "RunId": "run_1", **airflow}}
    return Event(derived_id("event", number), topic, 1_700_000_000_123, "org", "JobExecution", data)


def enqueue(event: Event, *, now: int, webhook_id: str = "ops") -> str:
    """Take an event in and return the delivery's id."""
    return Outbox().enqueue(Delivery.of(event, webhook_id), now=now).delivery_id


def claim(now: int) -> Sequence[Claim]:
    """Claim what is due."""
    return Outbox().claim(now=now, lease=LEASE, limit=1000, capacity=lambda _: 1000)


def attempt_all(now: int, status: int | None, *, error: str | None = None, response: str = "") -> None:
    """Write one attempt down for all that is due."""
    results = [_result(each, now, status, error=error, response=response) for each in claim(now)]
    assert not Outbox().record(results, now=now).refused


def _result(claimed: Claim, now: int, status: int | None, *, error: str | None, response: str) -> Result:
    attempt = Attempt(
        id=derived_id(claimed.delivery.id, claimed.number),
        delivery_id=claimed.delivery.id,
        number=claimed.number,
        started_at=now,
        duration=0.25,
        status=status,
        error=error,
        response=response,
    )
    return Result(claimed, attempt, _dispose(claimed, status, now=now))


def _dispose(claimed: Claim, status: int | None, *, now: int) -> Disposition:
    return dispose(SCHEDULE, step=claimed.step, status=status, now=now)


def make_dead_letters(count: int, *, now: int, webhook_id: str = "ops") -> list[str]:
    """Make dead letters that were taken in at `now` and return their ids."""
    ids = [enqueue(make_event(number), now=now, webhook_id=webhook_id) for number in range(count)]
    attempt_all(now, 500, error="answered 500 Internal Server Error")
    attempt_all(now + 100_000, 500, error="answered 500 Internal Server Error")
    for delivery_id in ids:
        assert state_of(delivery_id) is DeliveryState.DEAD_LETTER
    return ids


def state_of(delivery_id: str) -> DeliveryState:
    """Return where a delivery stands."""
    detail = Outbox().delivery(delivery_id)
    assert detail is not None
    return detail.record.state
