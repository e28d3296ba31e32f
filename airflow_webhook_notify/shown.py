"""What may be shown of a delivery, wherever it is.

Invariant: no more of an endpoint's URL than its origin, and no credential of the webhook, although an endpoint may
send back what it was sent; what remains is still whatever others wrote, to be escaped by who shows it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from airflow_webhook_notify.connection import get_webhook
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import Delivery, derived_id, origin_of
from airflow_webhook_notify.outbox.records import DeliveryDetail
from airflow_webhook_notify.payloads import build_payload
from airflow_webhook_notify.topics import PING


def shown_payload(detail: DeliveryDetail) -> dict[str, Any]:
    """Return the payload of the latest attempt, or of the first where none was made; a ping's without URL path."""
    record = detail.record
    delivery = Delivery(record.id, record.webhook_id, detail.event)
    payload: dict[str, Any] = json.loads(build_payload(delivery, derived_id(record.id, max(1, record.attempts_count))))
    url = payload["Data"].get("Url")
    if record.topic == PING and isinstance(url, str):
        payload["Data"]["Url"] = origin_of(url)
    return payload


def masker_of(webhook_id: str) -> Callable[[str], str]:
    """Return what masks the webhook's credentials in a text; those that it has now, where it is still there."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    with suppress(ConfigurationError):
        # Reading it tells Airflow's masker of them.
        get_webhook(webhook_id)
    return lambda text: str(redact(text))
