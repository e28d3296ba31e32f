"""Make the index by which dead letters are counted, webhook by webhook.

Invariant: released, so it never changes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from airflow_webhook_notify.outbox.tables import metadata

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DELIVERY = "webhook_notify_delivery"
INDEX = f"idx_{DELIVERY}_ended_webhook_id"
ENDED_BADLY = "state IN ('dead_letter', 'cancelled')"
SCHEMA = metadata.schema


def upgrade() -> None:
    """Make it."""
    op.create_index(
        INDEX,
        DELIVERY,
        ["state", "webhook_id", "created_at"],
        schema=SCHEMA,
        postgresql_where=sa.text(ENDED_BADLY),
        sqlite_where=sa.text(ENDED_BADLY),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index(INDEX, DELIVERY, schema=SCHEMA)
