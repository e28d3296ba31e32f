"""Make the tables of deliveries, attempts and webhooks.

Invariant: released, so it never changes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from airflow_webhook_notify.outbox.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DELIVERY = "webhook_notify_delivery"
ATTEMPT = "webhook_notify_attempt"
WEBHOOK = "webhook_notify_webhook"
SCHEMA = metadata.schema
BINARY = {"charset": "utf8mb4", "collation": "utf8mb4_bin"}


def _string(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, **BINARY), "mysql")


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.MEDIUMTEXT(**BINARY), "mysql")


def upgrade() -> None:
    """Make them."""
    _create_delivery()
    _create_delivery_indexes()
    _create_attempt()
    _create_webhook()


def downgrade() -> None:
    """Drop them, with all that they hold."""
    for table in (WEBHOOK, ATTEMPT, DELIVERY):
        op.drop_table(table, schema=SCHEMA)


def _create_delivery() -> None:
    op.create_table(
        DELIVERY,
        sa.Column("id", _string(36), nullable=False),
        sa.Column("webhook_id", _string(250), nullable=False),
        sa.Column("event_id", _string(64), nullable=False),
        sa.Column("topic", _string(64), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.Column("organization_id", _string(250), nullable=False),
        sa.Column("resource", _string(64), nullable=False),
        sa.Column("data", _text(), nullable=False),
        sa.Column("dag_id", _string(250)),
        sa.Column("run_id", _string(250)),
        sa.Column("task_id", _string(250)),
        sa.Column("map_index", sa.Integer()),
        sa.Column("try_number", sa.Integer()),
        sa.Column("state", _string(16), nullable=False),
        sa.Column("is_manual", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("attempts_count", sa.Integer(), nullable=False),
        sa.Column("schedule_start", sa.Integer(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger()),
        sa.Column("last_status", sa.Integer()),
        sa.Column("last_error", _string(1000)),
        sa.Column("lease_token", _string(36)),
        sa.Column("lease_expires_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=f"{DELIVERY}_pkey"),
        sa.UniqueConstraint("webhook_id", "event_id", name=f"{DELIVERY}_webhook_id_event_id_uq"),
        *_delivery_checks(),
        schema=SCHEMA,
    )


def _delivery_checks() -> list[sa.CheckConstraint]:
    conditions = {
        "state": "state IN ('pending', 'delivered', 'dead_letter', 'cancelled')",
        "lease_whole": "(lease_token IS NULL) = (lease_expires_at IS NULL)",
        "lease_pending": "lease_token IS NULL OR state = 'pending'",
        "due_pending": "(state = 'pending') = (due_at IS NOT NULL)",
        "delivered": "state <> 'delivered' OR (attempts_count >= 1 AND delivered_at IS NOT NULL)",
        "attempts": "schedule_start >= 0 AND attempts_count >= schedule_start",
    }
    return [sa.CheckConstraint(condition, name=f"{DELIVERY}_{name}_ck") for name, condition in conditions.items()]


def _create_delivery_indexes() -> None:
    waiting = sa.text("state = 'pending'")
    op.create_index(
        f"idx_{DELIVERY}_due",
        DELIVERY,
        ["state", "webhook_id", "is_manual", "due_at"],
        schema=SCHEMA,
        postgresql_where=waiting,
        sqlite_where=waiting,
    )
    newest = ["created_at", "id"]
    ended = sa.text("state IN ('dead_letter', 'cancelled')")
    op.create_index(
        f"idx_{DELIVERY}_ended",
        DELIVERY,
        ["state", *newest],
        schema=SCHEMA,
        postgresql_where=ended,
        sqlite_where=ended,
    )
    op.create_index(f"idx_{DELIVERY}_created_at", DELIVERY, newest, schema=SCHEMA)
    op.create_index(f"idx_{DELIVERY}_webhook_id_created_at", DELIVERY, ["webhook_id", *newest], schema=SCHEMA)
    op.create_index(f"idx_{DELIVERY}_dag_id_created_at", DELIVERY, ["dag_id", *newest], schema=SCHEMA)


def _create_attempt() -> None:
    delivery = f"{SCHEMA}.{DELIVERY}.id" if SCHEMA else f"{DELIVERY}.id"
    op.create_table(
        ATTEMPT,
        sa.Column("delivery_id", _string(36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_us", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("error", _text()),
        sa.Column("response", _text(), nullable=False),
        sa.Column("retry_after_ms", sa.BigInteger()),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=f"{ATTEMPT}_pkey"),
        sa.ForeignKeyConstraint(["delivery_id"], [delivery], name=f"{ATTEMPT}_delivery_id_fkey", ondelete="CASCADE"),
        sa.CheckConstraint("number >= 1", name=f"{ATTEMPT}_number_ck"),
        schema=SCHEMA,
    )


def _create_webhook() -> None:
    op.create_table(
        WEBHOOK,
        sa.Column("webhook_id", _string(250), nullable=False),
        sa.Column("paused_at", sa.BigInteger()),
        sa.Column("paused_reason", _string(1000)),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("last_success_at", sa.BigInteger()),
        sa.Column("resumed_at", sa.BigInteger()),
        sa.Column("paced_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("webhook_id", name=f"{WEBHOOK}_pkey"),
        sa.CheckConstraint("(paused_at IS NULL) = (paused_reason IS NULL)", name=f"{WEBHOOK}_paused_ck"),
        schema=SCHEMA,
    )
