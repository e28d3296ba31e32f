"""What may be shown of a delivery, wherever it is.

Invariant: no more of an endpoint's URL than its origin, and no credential of the webhook, although an endpoint may
send back what it was sent; what remains is still whatever others wrote, to be escaped by who shows it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from airflow_webhook_notify.connection import get_webhook
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import Attempt, Delivery, SigningSecret, Webhook, derived_id, origin_of
from airflow_webhook_notify.moments import write_moment
from airflow_webhook_notify.outbox.records import DeliveryDetail, DeliveryRecord
from airflow_webhook_notify.payloads import build_payload
from airflow_webhook_notify.signing import generate_secret
from airflow_webhook_notify.topics import PING


def shown_payload(detail: DeliveryDetail) -> dict[str, Any]:
    """Return the payload of the latest attempt, or of the first where none was made; a ping's without URL path."""
    record = detail.record
    return payload_of(Delivery(record.id, record.webhook_id, detail.event), number=max(1, record.attempts_count))


def payload_of(delivery: Delivery, *, number: int) -> dict[str, Any]:
    """Return the payload of an attempt by its number; a ping's without URL path."""
    payload: dict[str, Any] = json.loads(build_payload(delivery, derived_id(delivery.id, number)))
    url = payload["Data"].get("Url")
    if delivery.event.topic == PING and isinstance(url, str):
        payload["Data"]["Url"] = origin_of(url)
    return payload


def shown_headers(webhook: Webhook | None, delivery: Delivery, attempt: Attempt) -> dict[str, str]:
    """Return the headers of an attempt; the values of signatures, of Authorization and of extra headers are masked.

    :param webhook: as it is now, so its extra headers may have been others then; None where it is gone
    """
    # Here, not above: `requests` is only for those who send.
    from airflow_webhook_notify.client import build_headers

    sender = webhook or Webhook(delivery.webhook_id, "", (SigningSecret(generate_secret()),))
    body = build_payload(delivery, derived_id(delivery.id, attempt.number))
    headers = build_headers(sender, delivery.event.id, body, now=attempt.started_at / 1000)
    return {name: _shown_value(name, value) for name, value in headers.items()}


#: These tell a receiver's author much, and nobody a secret.
_OPEN = ("content-type", "content-length", "user-agent", "accept-encoding", "webhook-id", "webhook-timestamp")


def _shown_value(name: str, value: str | bytes) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if name.lower() in _OPEN:
        return text
    if name.lower() == "webhook-signature":
        return " ".join("v1,***" for _ in text.split())
    return "sha256=***" if name.lower().startswith("x-hub-signature") else "***"


def masker_of(webhook_id: str) -> Callable[[str], str]:
    """Return what masks the webhook's credentials in a text; those that it has now, where it is still there."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    with suppress(ConfigurationError):
        # Reading it tells Airflow's masker of them.
        get_webhook(webhook_id)
    return lambda text: str(redact(text))


def delivery_fields(record: DeliveryRecord, *, paused: bool) -> dict[str, object]:
    """Return a delivery as programs read it.

    :param paused: whether its webhook is
    """
    return {
        "id": record.id,
        "webhook": record.webhook_id,
        "webhook_paused": paused,
        "topic": record.topic,
        "event_id": record.event_id,
        "dag_id": record.dag_id,
        "run_id": record.run_id,
        "task_id": record.task_id,
        "map_index": record.map_index,
        "try_number": record.try_number,
        "state": record.state.value,
        "event_at": write_moment(record.event_at),
        "created_at": write_moment(record.created_at),
        "due_at": write_moment(record.due_at),
        "delivered_at": write_moment(record.delivered_at),
        "leased_until": write_moment(record.leased_until),
        "manual": record.manual,
        "attempts_count": record.attempts_count,
        "last_status": record.last_status,
        "last_error": record.last_error,
    }


def attempt_fields(detail: DeliveryDetail, mask: Callable[[str], str]) -> Iterator[dict[str, object]]:
    """Return each attempt as programs read it.

    :param mask: see :func:`masker_of`
    """
    for attempt in detail.attempts:
        yield {
            "number": attempt.number,
            "id": attempt.id,
            "started_at": write_moment(attempt.started_at),
            "duration": round(attempt.duration, 3),
            "status": attempt.status,
            "error": attempt.error and mask(attempt.error),
            "retry_after": attempt.retry_after,
            "response": mask(attempt.response),
        }
