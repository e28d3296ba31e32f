"""The outbox's tables.

Invariant: a MetaData of our own, never Airflow's; a half-set lease, a lease on what is not pending, and a delivered
row without an attempt are refused by the database itself. Times are milliseconds since the epoch.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

#: The longest id of a Connection, DAG, run or task in Airflow.
ID_LENGTH = 250
EVENT_ID_LENGTH = 64
TOPIC_LENGTH = 64
ERROR_LENGTH = 1000
PREFIX = "webhook_notify_"
#: A statement has to hold these words for SQLite to use the index of such rows.
ENDED_BADLY = "state IN ('dead_letter', 'cancelled')"


def _schema() -> str | None:
    # Airflow puts its own tables there too.
    from airflow.configuration import conf

    return conf.get("database", "sql_alchemy_schema", fallback=None) or None


def _string(length: int) -> TypeEngine[str]:
    # MySQL would take two ids that differ in case or accents for one.
    return String(length).with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql")


def _text() -> TypeEngine[str]:
    # MySQL's TEXT ends at 64 KiB, which one event's data may take before it is escaped.
    return Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")


def _check(table: str, name: str, condition: str) -> CheckConstraint:
    return CheckConstraint(condition, name=f"{PREFIX}{table}_{name}_ck")


metadata = MetaData(schema=_schema())

deliveries = Table(
    f"{PREFIX}delivery",
    metadata,
    Column("id", _string(36), nullable=False),
    Column("webhook_id", _string(ID_LENGTH), nullable=False),
    Column("event_id", _string(EVENT_ID_LENGTH), nullable=False),
    Column("topic", _string(TOPIC_LENGTH), nullable=False),
    Column("event_at", BigInteger, nullable=False),
    Column("organization_id", _string(ID_LENGTH), nullable=False),
    Column("resource", _string(TOPIC_LENGTH), nullable=False),
    # The event, not the payload: that one holds the attempt's id. JSON in ASCII, so any database can store it.
    Column("data", _text(), nullable=False),
    Column("dag_id", _string(ID_LENGTH)),
    Column("run_id", _string(ID_LENGTH)),
    Column("task_id", _string(ID_LENGTH)),
    Column("map_index", Integer),
    Column("try_number", Integer),
    Column("state", _string(16), nullable=False),
    # Not `manual`, which MySQL 8.4 keeps for itself.
    Column("is_manual", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger),
    Column("attempts_count", Integer, nullable=False),
    # Attempts made before the present schedule began: a redelivery starts it anew.
    Column("schedule_start", Integer, nullable=False),
    Column("delivered_at", BigInteger),
    Column("last_status", Integer),
    Column("last_error", _string(ERROR_LENGTH)),
    # No index holds these two, so that PostgreSQL claims a row without writing to any index.
    Column("lease_token", _string(36)),
    Column("lease_expires_at", BigInteger),
    PrimaryKeyConstraint("id", name=f"{PREFIX}delivery_pkey"),
    UniqueConstraint("webhook_id", "event_id", name=f"{PREFIX}delivery_webhook_id_event_id_uq"),
    _check("delivery", "state", "state IN ('pending', 'delivered', 'dead_letter', 'cancelled')"),
    _check("delivery", "lease_whole", "(lease_token IS NULL) = (lease_expires_at IS NULL)"),
    _check("delivery", "lease_pending", "lease_token IS NULL OR state = 'pending'"),
    _check("delivery", "due_pending", "(state = 'pending') = (due_at IS NOT NULL)"),
    _check("delivery", "delivered", "state <> 'delivered' OR (attempts_count >= 1 AND delivered_at IS NOT NULL)"),
    _check("delivery", "attempts", "schedule_start >= 0 AND attempts_count >= schedule_start"),
    # What waits, by webhook: all that a claim reads. It stays as small as what waits where indexes may be partial.
    Index(
        f"idx_{PREFIX}delivery_due",
        "state",
        "webhook_id",
        "is_manual",
        "due_at",
        postgresql_where=text("state = 'pending'"),
        sqlite_where=text("state = 'pending'"),
    ),
    # What ended badly: few among very many, and what people look for.
    Index(
        f"idx_{PREFIX}delivery_ended",
        "state",
        "created_at",
        "id",
        postgresql_where=text(ENDED_BADLY),
        sqlite_where=text(ENDED_BADLY),
    ),
    # The same by webhook, so that they are counted without reading one of them.
    Index(
        f"idx_{PREFIX}delivery_ended_webhook_id",
        "state",
        "webhook_id",
        "created_at",
        postgresql_where=text(ENDED_BADLY),
        sqlite_where=text(ENDED_BADLY),
    ),
    Index(f"idx_{PREFIX}delivery_created_at", "created_at", "id"),
    Index(f"idx_{PREFIX}delivery_webhook_id_created_at", "webhook_id", "created_at", "id"),
    Index(f"idx_{PREFIX}delivery_dag_id_created_at", "dag_id", "created_at", "id"),
)
attempts = Table(
    f"{PREFIX}attempt",
    metadata,
    Column("delivery_id", _string(36), nullable=False),
    Column("number", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    # An endpoint nearby answers in less than a millisecond.
    Column("duration_us", BigInteger, nullable=False),
    Column("status", Integer),
    Column("error", _text()),
    Column("response", _text(), nullable=False),
    Column("retry_after_ms", BigInteger),
    Column("final", Boolean, nullable=False),
    # The attempt's id is derived from these two, so no attempt can be written twice.
    PrimaryKeyConstraint("delivery_id", "number", name=f"{PREFIX}attempt_pkey"),
    ForeignKeyConstraint(
        ["delivery_id"], [deliveries.c.id], name=f"{PREFIX}attempt_delivery_id_fkey", ondelete="CASCADE"
    ),
    _check("attempt", "number", "number >= 1"),
)
webhooks = Table(
    f"{PREFIX}webhook",
    metadata,
    Column("webhook_id", _string(ID_LENGTH), nullable=False),
    Column("paused_at", BigInteger),
    Column("paused_reason", _string(ERROR_LENGTH)),
    Column("failing_since", BigInteger),
    Column("last_success_at", BigInteger),
    Column("resumed_at", BigInteger),
    # Until when the rate of a resumed webhook is used up.
    Column("paced_at", BigInteger),
    PrimaryKeyConstraint("webhook_id", name=f"{PREFIX}webhook_pkey"),
    _check("webhook", "paused", "(paused_at IS NULL) = (paused_reason IS NULL)"),
)
