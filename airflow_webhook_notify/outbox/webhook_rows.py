"""The state of each webhook: its health, and whether it is paused.

Invariant: a webhook that was never tried or paused has no row; whoever writes its first makes it, however many do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, select, true, update
from sqlalchemy.engine import Connection

from airflow_webhook_notify.outbox.inserts import insert_new
from airflow_webhook_notify.outbox.records import WebhookStatus
from airflow_webhook_notify.outbox.rows import Values, status_of, storable
from airflow_webhook_notify.outbox.tables import ERROR_LENGTH, webhooks

_W = webhooks.c


def read(connection: Connection, webhook_ids: Iterable[str] | None = None) -> Mapping[str, WebhookStatus]:
    """Return the states of these webhooks, or of all."""
    wanted = select(webhooks) if webhook_ids is None else select(webhooks).where(_W.webhook_id.in_(list(webhook_ids)))
    return {row.webhook_id: status_of(row) for row in connection.execute(wanted)}


def write_health(connection: Connection, status: WebhookStatus) -> None:
    """Write down what attempts say of a webhook."""
    values = {"failing_since": status.failing_since, "last_success_at": status.last_success_at}
    _put(connection, status.webhook_id, values)


def pause(connection: Connection, webhook_id: str, reason: str, *, now: int) -> bool:
    """Pause a webhook and return whether it was not paused before."""
    values = {"paused_at": now, "paused_reason": storable(reason, ERROR_LENGTH)}
    return _put(connection, webhook_id, values, only_if=_W.paused_at.is_(None))


def resume(connection: Connection, webhook_id: str, *, now: int) -> bool:
    """Resume a webhook and return whether it was paused; it has its five days again."""
    paused = and_(_W.webhook_id == webhook_id, _W.paused_at.is_not(None))
    values = {"paused_at": None, "paused_reason": None, "failing_since": None, "resumed_at": now, "paced_at": now}
    return connection.execute(update(webhooks).where(paused).values(values)).rowcount == 1


def forget(connection: Connection, webhook_id: str) -> None:
    """Delete what is known of a webhook."""
    connection.execute(delete(webhooks).where(_W.webhook_id == webhook_id))


def _put(
    connection: Connection, webhook_id: str, values: Values, *, only_if: ColumnElement[bool] | None = None
) -> bool:
    condition = true() if only_if is None else only_if
    changed = update(webhooks).where(_W.webhook_id == webhook_id, condition).values(values)
    if connection.execute(changed).rowcount == 1:
        return True
    row: dict[str, Any] = {"webhook_id": webhook_id, **values}
    # Another process may have made the row since; then it is there to be changed.
    return insert_new(connection, webhooks, row) or connection.execute(changed).rowcount == 1
