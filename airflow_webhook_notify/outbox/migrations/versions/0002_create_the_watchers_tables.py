"""Make the tables of the watcher's mark and of subscriptions.

Invariant: released, so it never changes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from airflow_webhook_notify.outbox.tables import metadata

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WATCH = "webhook_notify_watch"
SUBSCRIPTION = "webhook_notify_subscription"
SCHEMA = metadata.schema
BINARY = {"charset": "utf8mb4", "collation": "utf8mb4_bin"}


def _string(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, **BINARY), "mysql")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        WATCH,
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("looked_at", sa.BigInteger(), nullable=False),
        sa.Column("run_key", sa.BigInteger(), nullable=False),
        sa.Column("oldest_run_key", sa.BigInteger(), nullable=False),
        sa.Column("log_key", sa.BigInteger(), nullable=False),
        sa.Column("lease_token", _string(36)),
        sa.Column("lease_expires_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=f"{WATCH}_pkey"),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_expires_at IS NULL)", name=f"{WATCH}_lease_whole_ck"),
        schema=SCHEMA,
    )
    op.create_table(
        SUBSCRIPTION,
        sa.Column("webhook_id", _string(250), nullable=False),
        sa.Column("fingerprint", _string(36), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("paced_at", sa.BigInteger(), nullable=False),
        sa.Column("pinged_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", name=f"{SUBSCRIPTION}_pkey"),
        sa.CheckConstraint("since >= 0", name=f"{SUBSCRIPTION}_since_ck"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Drop them; the next watcher starts from now."""
    for table in (SUBSCRIPTION, WATCH):
        op.drop_table(table, schema=SCHEMA)
