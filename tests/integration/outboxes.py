"""The databases that the outbox's tests run on, and what goes in.

Invariant: every test has a database of its own with empty tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine

from airflow_webhook_notify.models import Attempt, Delivery, Event, derived_id
from airflow_webhook_notify.outbox.records import Claim, Recorded, Result
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.retry import Schedule, dispose
from tests.postgres import PostgresServer

DATABASES = ("sqlite", "postgresql")
#: The first moment of these tests, in milliseconds since the epoch.
T0 = 1_700_000_000_000
SECOND, HOUR, DAY = 1000, 3_600_000, 86_400_000
LEASE = 60 * SECOND
_names = itertools.count()


def make_url(name: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of an empty database."""
    if name == "sqlite":
        return f"sqlite:///{folder / 'outbox.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database(f"outbox_{next(_names)}")


def make_engine(url: str, *, patience: float = 30) -> Engine:
    """Return an engine, set up as Airflow sets up its own.

    :param patience: seconds for which SQLite waits for another's transaction
    """
    if not url.startswith("sqlite"):
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": patience})

    @event.listens_for(engine, "connect")
    def connect(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()

    return engine


def make_delivery(number: int, webhook_id: str = "ops", **data: object) -> Delivery:
    """Return the delivery of an event, always the same for a number."""
    occurred = Event(derived_id("event", number), "job.execution.failed", T0, "org", "JobExecution", data)
    return Delivery.of(occurred, webhook_id)


@dataclass(frozen=True)
class OutboxUnderTest:
    """An outbox with words for what nearly every test does; times are milliseconds after `T0`."""

    outbox: Outbox
    schedule: Schedule = field(default_factory=lambda: Schedule((5, 300)))

    def enqueue(self, count: int = 1, *, webhook_id: str = "ops", at: int = 0, start: int = 0) -> list[str]:
        """Take deliveries in, one a millisecond, and return their ids."""
        made = [make_delivery(start + number, webhook_id) for number in range(count)]
        for number, delivery in enumerate(made):
            assert self.outbox.enqueue(delivery, now=T0 + at + number).created
        return [delivery.id for delivery in made]

    def claim(self, at: int, *, limit: int = 100, capacity: int = 100, resume_rate: float = 20) -> tuple[Claim, ...]:
        """Claim what is due."""
        return self.outbox.claim(
            now=T0 + at, lease=LEASE, limit=limit, capacity=lambda _: capacity, resume_rate=resume_rate
        )

    def record(self, claims: Sequence[Claim], status: int | None, *, at: int) -> Recorded:
        """Write down that each was answered with this status, or not at all."""
        return self.outbox.record([self.result(claim, status, at=at) for claim in claims], now=T0 + at)

    def result(self, claim: Claim, status: int | None, *, at: int) -> Result:
        """Return what a relay makes of an answer."""
        delivery_id = claim.delivery.id
        attempt = Attempt(
            id=derived_id(delivery_id, claim.number),
            delivery_id=delivery_id,
            number=claim.number,
            started_at=T0 + at,
            duration=0.25,
            status=status,
            error=None if status == 200 else f"answered {status}",
        )
        return Result(claim, attempt, dispose(self.schedule, step=claim.step, status=status, now=T0 + at))

    def fail(self, at: int, status: int | None = 500) -> Recorded:
        """Claim all that is due and let it fail."""
        return self.record(self.claim(at), status, at=at)


def ids(claims: Sequence[Claim]) -> list[str]:
    """Return the ids of what was claimed, in its order."""
    return [claim.delivery.id for claim in claims]
