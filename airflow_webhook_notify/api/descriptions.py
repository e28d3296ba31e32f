"""Webhooks and deliveries as the REST API describes them.

Invariant: the whole URL of an endpoint is in a description only where its reader may edit the webhook.
"""

from __future__ import annotations

from typing import Any

from airflow_webhook_notify.models import Webhook
from airflow_webhook_notify.moments import write_moment
from airflow_webhook_notify.outbox.records import DeliveryRecord
from airflow_webhook_notify.overview import WebhookOverview

_FIELDS = (
    *("endpoint", "topics", "dags", "tags", "level", "retries", "roll_up", "rate", "heartbeat", "header_names"),
    *("authorization", "proxy", "timeout", "connect_timeout", "verify", "ca_bundle", "allow_http", "secrets"),
    "old_secret_until",
)


def describe_webhook(one: WebhookOverview, *, may_edit: bool, now: int) -> dict[str, Any]:
    """Return a webhook and how it is doing.

    :param may_edit: whether who reads this may
    :param now: milliseconds since the epoch
    """
    return {
        "id": one.id,
        "nickname": one.nickname,
        **(_settings(one.webhook, may_edit=may_edit, now=now) if one.webhook else dict.fromkeys(_FIELDS)),
        "source": one.source,
        "editable": one.editable and may_edit,
        "state": one.state,
        "state_reason": one.state_reason,
        "paused_at": write_moment(one.status.paused_at),
        "failing_since": write_moment(one.status.failing_since),
        "last_success_at": write_moment(one.status.last_success_at),
        "waiting": one.waiting,
        "dead_letters": one.dead_letters,
        "success_rate": one.success_rate,
        "hours": [{"delivered": hour.delivered, "failed": hour.failed} for hour in one.hours],
        "last_delivery": one.last_delivery and _last_delivery(one.last_delivery),
        "outbox_problem": one.outbox_problem,
    }


def _settings(webhook: Webhook, *, may_edit: bool, now: int) -> dict[str, Any]:
    until = webhook.old_secret_until(now)
    return {
        "endpoint": webhook.endpoint if may_edit else webhook.origin,
        "topics": list(webhook.topics),
        "dags": list(webhook.dags),
        "tags": list(webhook.tags),
        "level": webhook.level.value,
        "retries": webhook.retries,
        "roll_up": webhook.roll_up,
        "rate": webhook.rate,
        "heartbeat": webhook.heartbeat,
        "header_names": [name for name, _ in webhook.headers],
        "authorization": "set" if webhook.authorization else "not set",
        "proxy": "set" if webhook.proxy else "not set",
        "timeout": webhook.timeout,
        "connect_timeout": webhook.connect_timeout,
        "verify": webhook.verify,
        "ca_bundle": webhook.ca_bundle,
        "allow_http": webhook.allow_http,
        "secrets": len(webhook.secrets_at(now)),
        "old_secret_until": write_moment(until),
    }


def _last_delivery(record: DeliveryRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "state": record.state.value,
        "status": record.last_status,
        "at": write_moment(record.created_at),
    }


def describe_headers(headers: dict[str, str]) -> list[dict[str, str]]:
    """Return headers in their order."""
    return [{"name": name, "value": value} for name, value in headers.items()]
