"""The delivery log as an operator with SQL reads it.

Invariant: no code under test reads for a test, so what is asserted is what the database holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.acceptance.airflow_under_test import AirflowUnderTest

_DELIVERIES = """
    SELECT event_id, topic, task_id, try_number, state, event_at, created_at, due_at, attempts_count, last_status,
           last_error
    FROM webhook_notify_delivery
    WHERE webhook_id = :webhook_id AND dag_id = :dag_id AND run_id = :run_id
    ORDER BY created_at, id
"""
_ATTEMPTS = """
    SELECT d.event_id, a.number, a.status, a.error
    FROM webhook_notify_attempt a JOIN webhook_notify_delivery d ON a.delivery_id = d.id
    WHERE d.webhook_id = :webhook_id AND d.dag_id = :dag_id AND d.run_id = :run_id
    ORDER BY d.event_id, a.number
"""


@dataclass(frozen=True)
class LoggedDelivery:
    """One delivery; times are milliseconds since the epoch."""

    event_id: str
    topic: str
    task_id: str | None
    try_number: int
    state: str
    event_at: int
    created_at: int
    due_at: int | None
    attempts_count: int
    last_status: int | None
    last_error: str | None


@dataclass(frozen=True)
class LoggedAttempt:
    """One attempt."""

    event_id: str
    number: int
    status: int | None
    error: str | None


@dataclass(frozen=True)
class DeliveryLog:
    """What one webhook has of one run of a DAG and its tasks."""

    airflow: AirflowUnderTest
    webhook_id: str
    dag_id: str
    run_id: str

    def deliveries(self) -> list[LoggedDelivery]:
        """Return its deliveries, oldest first."""
        return [LoggedDelivery(**row) for row in self._read(_DELIVERIES)]

    def attempts(self) -> list[LoggedAttempt]:
        """Return every attempt, by event."""
        return [LoggedAttempt(**row) for row in self._read(_ATTEMPTS)]

    def wait_for(self, count: int, *, state: str, attempts: int = 0, timeout: float = 60) -> list[LoggedDelivery]:
        """Return its deliveries once there are so many, each in this state and tried so often at least."""

        def there() -> bool:
            found = self.deliveries()
            return len(found) >= count and all(one.state == state and one.attempts_count >= attempts for one in found)

        what = f"{count} deliveries of {self.dag_id} {self.run_id} to {self.webhook_id} are {state}"
        self.airflow.wait_until(what, there, timeout=timeout)
        return self.deliveries()

    def _read(self, query: str) -> list[dict[str, Any]]:
        wanted = {"webhook_id": self.webhook_id, "dag_id": self.dag_id, "run_id": self.run_id}
        return read_rows(self.airflow, query, **wanted)


def read_rows(airflow: AirflowUnderTest, query: str, **wanted: str) -> list[dict[str, Any]]:
    """Return the rows of a query."""
    engine = create_engine(airflow.database_url, poolclass=NullPool)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query), wanted).mappings()]


def change_rows(airflow: AirflowUnderTest, statement: str) -> None:
    """Change rows, as only a test does."""
    engine = create_engine(airflow.database_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))


def wait_until_subscribed(airflow: AirflowUnderTest, *webhooks: str) -> None:
    """Return once the watcher has noticed these webhooks: they hear of what happens from then on."""

    def noticed() -> bool:
        rows = read_rows(airflow, "SELECT webhook_id FROM webhook_notify_subscription")
        return set(webhooks) <= {row["webhook_id"] for row in rows}

    airflow.wait_until(f"the watcher has noticed {webhooks}", noticed, timeout=60)
