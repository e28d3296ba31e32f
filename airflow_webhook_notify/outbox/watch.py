"""How far the watcher has looked, and what it hands over, in one transaction.

Invariant: of any number of watchers one holds the lease; what another hands over is refused whole, so the mark
never passes what is not in the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.engine import Connection, Engine

from airflow_webhook_notify.exceptions import OutboxUnavailableError
from airflow_webhook_notify.models import Delivery, DeliveryState
from airflow_webhook_notify.outbox.inserts import insert_new, insert_or_ignore
from airflow_webhook_notify.outbox.rows import Values, delivery_values
from airflow_webhook_notify.outbox.tables import deliveries
from airflow_webhook_notify.outbox.transactions import airflow_engine, reading, writing
from airflow_webhook_notify.outbox.watch_tables import subscriptions, watch

_W, _S = watch.c, subscriptions.c
_ROW = 1


class LeaseLostError(OutboxUnavailableError):
    """Another watcher has taken over; nothing was written."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the watcher has looked. Keys are the numbers of Airflow's rows.

    :param looked_at: all that was committed before is handed over; milliseconds since the epoch
    :param run_key: runs up to it have been seen
    :param oldest_run_key: the oldest run that was under way
    :param log_key: rows of the audit log up to it have been seen
    """

    looked_at: int
    run_key: int = 0
    oldest_run_key: int = 0
    log_key: int = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """Since when a webhook subscribes. Times are milliseconds since the epoch.

    :param fingerprint: of its filters
    :param paced_at: until when its rate is used up
    :param pinged_at: when it was last pinged
    """

    webhook_id: str
    fingerprint: str
    since: int
    paced_at: int = 0
    pinged_at: int = 0


@dataclass(frozen=True, slots=True)
class Taking:
    """A delivery to take in.

    :param due_at: milliseconds since the epoch
    :param within: id of the event that tells of this one too, so that it never goes by itself
    """

    delivery: Delivery
    due_at: int
    within: str | None = None


@dataclass(frozen=True, slots=True)
class HandOver:
    """What one look hands over.

    :param changed: subscriptions that are new or differ
    :param ended: webhooks that subscribe no more
    """

    mark: Mark
    taken: Sequence[Taking] = ()
    changed: Sequence[Subscription] = ()
    ended: Sequence[str] = field(default=())


class Watch:
    """The watcher's rows in one database. Raises what :class:`Outbox` raises.

    :param engine: None for Airflow's own
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine

    @property
    def engine(self) -> Engine:
        """The engine that it works on; Airflow's own is asked for each time, since Airflow replaces it."""
        return self._engine or airflow_engine()

    def take_lease(self, token: str, *, now: int, lease: int) -> bool:
        """Take the lease, or hold it longer; return False where another watcher has it.

        :param token: the watcher's own, at most 36 characters
        :param lease: milliseconds
        """
        values = {"lease_token": token, "lease_expires_at": now + lease}
        free = or_(_W.lease_token.is_(None), _W.lease_token == token, _W.lease_expires_at <= now)
        with writing(self.engine) as connection:
            if connection.execute(update(watch).where(_W.id == _ROW, free).values(values)).rowcount == 1:
                return True
            first = {"id": _ROW, "looked_at": 0, "run_key": 0, "oldest_run_key": 0, "log_key": 0, **values}
            return insert_new(connection, watch, first)

    def end_lease(self, token: str) -> None:
        """Let another watcher go on at once."""
        values = {"lease_token": None, "lease_expires_at": None}
        with writing(self.engine) as connection:
            connection.execute(update(watch).where(_W.id == _ROW, _W.lease_token == token).values(values))

    def mark(self) -> Mark | None:
        """Return how far any watcher has looked; None where none ever did."""
        with reading(self.engine) as connection:
            row = connection.execute(select(watch).where(_W.id == _ROW)).one_or_none()
        if row is None or not row.looked_at:
            return None
        return Mark(row.looked_at, row.run_key, row.oldest_run_key, row.log_key)

    def subscriptions(self) -> Mapping[str, Subscription]:
        """Return every subscription by its webhook's id."""
        with reading(self.engine) as connection:
            return {row.webhook_id: Subscription(*row) for row in connection.execute(select(subscriptions))}

    def hand_over(self, work: HandOver, *, token: str, now: int) -> None:
        """Take deliveries in and move the mark, all or nothing; a delivery that is there already stays as it is.

        :raises LeaseLostError: where another watcher has the lease
        """
        with writing(self.engine) as connection:
            _move(connection, work.mark, token)
            _write_subscriptions(connection, work)
            rows = [_values(item, now=now) for item in work.taken]
            if rows:
                connection.execute(_insert_many(connection.dialect.name), rows)


def taken(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Return which of some deliveries the outbox has."""
    return set(connection.scalars(select(deliveries.c.id).where(deliveries.c.id.in_(ids))))


def _values(item: Taking, *, now: int) -> Values:
    values = {**delivery_values(item.delivery, now=now), "due_at": item.due_at, "last_error": None}
    if item.within is None:
        return values
    error = f"rolled up into the event {item.within}"
    return {**values, "state": DeliveryState.CANCELLED.value, "due_at": None, "last_error": error}


def _insert_many(dialect: str) -> Any:
    statement = insert_or_ignore(dialect, deliveries)
    # Only where it returns something does SQLAlchemy send many rows to PostgreSQL at once.
    return statement.returning(deliveries.c.id) if dialect == "postgresql" else statement


def _move(connection: Connection, mark: Mark, token: str) -> None:
    values: dict[str, Any] = {
        "looked_at": mark.looked_at,
        "run_key": mark.run_key,
        "oldest_run_key": mark.oldest_run_key,
        "log_key": mark.log_key,
    }
    moved = update(watch).where(_W.id == _ROW, _W.lease_token == token).values(values)
    if connection.execute(moved).rowcount != 1:
        raise LeaseLostError("another watcher has taken over")


def _write_subscriptions(connection: Connection, work: HandOver) -> None:
    gone = [*work.ended, *(item.webhook_id for item in work.changed)]
    if gone:
        connection.execute(delete(subscriptions).where(_S.webhook_id.in_(gone)))
    rows = [
        {
            "webhook_id": item.webhook_id,
            "fingerprint": item.fingerprint,
            "since": item.since,
            "paced_at": item.paced_at,
            "pinged_at": item.pinged_at,
        }
        for item in work.changed
    ]
    if rows:
        connection.execute(insert(subscriptions), rows)
