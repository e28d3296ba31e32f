"""Pings in the delivery log.

Invariant: a ping ends as it ended, whether or not it could be written down; and a process that has no metadata
database, such as a task's, never asks for one.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_webhook_notify.connection import list_webhooks
from airflow_webhook_notify.exceptions import WebhookError
from airflow_webhook_notify.models import Attempt, Delivery, Event, Webhook

if TYPE_CHECKING:
    from airflow_webhook_notify.outbox.store import Outbox

log = logging.getLogger(__name__)


def log_ping(webhook_id: str, event: Event, attempt: Attempt, *, outbox: Outbox | None = None) -> str | None:
    """Write a ping that was sent into the delivery log; return why it is not there, None where it is.

    :param outbox: None for that of Airflow's metadata database
    """
    # Here, not above: the hook imports this module, and a task has no use for SQLAlchemy.
    from airflow_webhook_notify.outbox.store import Outbox

    try:
        (outbox or Outbox()).log(Delivery.of(event, webhook_id), attempt, now=time.time_ns() // 1_000_000)
    except WebhookError as error:
        return str(error)
    return None


def log_or_warn(webhook_id: str, event: Event, attempt: Attempt) -> None:
    """Write a ping into the delivery log; where that can't be, say so in the process's own log."""
    if problem := log_ping(webhook_id, event, attempt):
        log.warning("webhook %s: a ping is not in the delivery log: %s", webhook_id, problem)


def as_stored(webhook: Webhook) -> Webhook:
    """Return the webhook with the id under which it is stored; itself where none like it is.

    The connection page's Test button gives what it tests an id of the moment, which neither the endpoint nor the
    delivery log could make sense of.
    """
    if os.environ.get("_AIRFLOW_PROCESS_CONTEXT") != "server":
        return webhook
    for stored in _stored_webhooks():
        if (stored.endpoint, stored.secrets[0]) == (webhook.endpoint, webhook.secrets[0]):
            return replace(webhook, id=stored.id, nickname=stored.nickname)
    return webhook


def _stored_webhooks() -> list[Webhook]:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return [each.webhook for each in list_webhooks() if each.source == "database" and each.webhook]
    except SQLAlchemyError as error:
        log.warning("webhooks: a ping is not in the delivery log: no webhook can be read (%s)", type(error).__name__)
        return []
