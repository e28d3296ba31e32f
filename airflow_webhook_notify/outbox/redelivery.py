"""What a person asks of deliveries: to be sent again, or not at all.

Invariant: attempts that were made stay as they are, and so do their numbers; what a relay is sending at this moment
stays its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Update, select, update
from sqlalchemy.engine import Connection

from airflow_webhook_notify.models import DeliveryState
from airflow_webhook_notify.outbox.lanes import PENDING
from airflow_webhook_notify.outbox.listing import conditions_of
from airflow_webhook_notify.outbox.records import DeliveryFilter
from airflow_webhook_notify.outbox.tables import deliveries

_D = deliveries.c


def redeliver(connection: Connection, ids: Sequence[str], *, now: int) -> tuple[str, ...]:
    """Make deliveries due at once; see :meth:`Outbox.redeliver`."""
    found = _lock(connection, ids)
    connection.execute(_due_at_once(now).where(_D.id.in_(found)))
    return found


def redeliver_dead_letters(connection: Connection, wanted: DeliveryFilter, *, now: int) -> int:
    """Make dead letters due at once; see :meth:`Outbox.redeliver_dead_letters`."""
    dead = conditions_of(replace(wanted, state=DeliveryState.DEAD_LETTER))
    return connection.execute(_due_at_once(now).where(*dead)).rowcount


def cancel(connection: Connection, ids: Sequence[str]) -> tuple[str, ...]:
    """End pending deliveries unsent; see :meth:`Outbox.cancel`."""
    # As a value: written out, SQLite would look through all that is pending for these ids.
    found = _lock(connection, ids, _D.state == DeliveryState.PENDING.value)
    ended = update(deliveries).where(_D.id.in_(found))
    values = {"state": DeliveryState.CANCELLED.value, "is_manual": False, "due_at": None}
    connection.execute(ended.values(**values, lease_token=None, lease_expires_at=None))
    return found


def cancel_waiting(connection: Connection, webhook_id: str, *, most: int) -> int:
    """End pending deliveries of a webhook unsent and return how many; see :meth:`Outbox.cancel_waiting`."""
    wanted = select(_D.id).where(PENDING, _D.webhook_id == webhook_id).limit(most)
    return len(cancel(connection, connection.execute(wanted).scalars().all()))


def _due_at_once(now: int) -> Update:
    # A lease is left to the relay that holds it: a result that comes meanwhile is no redelivery's.
    pending = DeliveryState.PENDING.value
    return update(deliveries).values(state=pending, is_manual=True, due_at=now, schedule_start=_D.attempts_count)


def _lock(connection: Connection, ids: Sequence[str], *conditions: ColumnElement[bool]) -> tuple[str, ...]:
    # In the order in which `record` locks them, so that neither waits for the other.
    wanted = select(_D.id).where(_D.id.in_(list(ids)), *conditions).order_by(_D.id)
    return tuple(connection.execute(wanted.with_for_update()).scalars())
