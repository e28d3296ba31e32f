"""The watcher's tables: how far it has looked, and since when each webhook subscribes.

Invariant: in the MetaData of the outbox, so that `airflow db` makes them with it; a half-set lease is refused by
the database itself. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, PrimaryKeyConstraint, String, Table
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from airflow_webhook_notify.outbox.tables import ID_LENGTH, PREFIX, metadata


def _string(length: int) -> TypeEngine[str]:
    # As in the outbox's tables: MySQL would take two ids that differ in case or accents for one.
    return String(length).with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql")


watch = Table(
    f"{PREFIX}watch",
    metadata,
    # There is one row, with the number 1.
    Column("id", Integer, nullable=False, autoincrement=False),
    Column("looked_at", BigInteger, nullable=False),
    Column("run_key", BigInteger, nullable=False),
    Column("oldest_run_key", BigInteger, nullable=False),
    Column("log_key", BigInteger, nullable=False),
    Column("lease_token", _string(36)),
    Column("lease_expires_at", BigInteger),
    PrimaryKeyConstraint("id", name=f"{PREFIX}watch_pkey"),
    CheckConstraint("(lease_token IS NULL) = (lease_expires_at IS NULL)", name=f"{PREFIX}watch_lease_whole_ck"),
)
subscriptions = Table(
    f"{PREFIX}subscription",
    metadata,
    Column("webhook_id", _string(ID_LENGTH), nullable=False),
    # Of its filters: where they change, the webhook subscribes anew.
    Column("fingerprint", _string(36), nullable=False),
    Column("since", BigInteger, nullable=False),
    # Until when its rate is used up, and when it was last pinged.
    Column("paced_at", BigInteger, nullable=False),
    Column("pinged_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("webhook_id", name=f"{PREFIX}subscription_pkey"),
    CheckConstraint("since >= 0", name=f"{PREFIX}subscription_since_ck"),
)
