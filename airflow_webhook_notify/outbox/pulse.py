"""Signs of life: what relays hold, and what time the database has.

Invariant: reads only.
"""

from __future__ import annotations

from sqlalchemy import func, select, text
from sqlalchemy.engine import Connection

from airflow_webhook_notify.outbox.lanes import PENDING
from airflow_webhook_notify.outbox.tables import deliveries

_D = deliveries.c
# Milliseconds since the epoch; the standard's CURRENT_TIMESTAMP comes in a different zone from each database.
_CLOCKS = {
    "sqlite": "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
    "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "mysql": "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
}


def leased(connection: Connection, *, now: int) -> int:
    """Return how many deliveries relays hold; see :meth:`Outbox.leased`."""
    held = select(func.count()).select_from(deliveries).where(PENDING, _D.lease_expires_at > now)
    return connection.execute(held).scalar_one()


def clock(connection: Connection) -> int:
    """Return the database's time; see :meth:`Outbox.clock`."""
    return int(connection.execute(text(_CLOCKS[connection.dialect.name])).scalar_one())
