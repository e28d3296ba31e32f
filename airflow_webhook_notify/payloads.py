"""Event and delivery to bytes: the wire format of docs/receiving.md.

Invariant: the bytes returned here are the bytes that are signed and sent, and they hold no secret and no
Authorization value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from airflow_webhook_notify.exceptions import PayloadError
from airflow_webhook_notify.models import Delivery, Event, Webhook
from airflow_webhook_notify.topics import JOB_TOPICS, OVERDUE, PING

#: The most that a payload's `Data` may take, in bytes of JSON.
MAX_DATA = 64 * 1024
#: The most that one text in it (command, message) or the author's custom data may take, in bytes of UTF-8.
MAX_TEXT = 4 * 1024
#: The longest event id, in characters; ours have 36.
MAX_ID = 64
JOB_EXECUTION = "JobExecution"
WEBHOOK = "webhook"
EVENT_TOPICS = (*JOB_TOPICS, OVERDUE, PING)

_EVENT_FIELDS: dict[str, type] = {
    "Id": str,
    "Topic": str,
    "CreatedAt": int,
    "OrganizationId": str,
    "Resource": str,
    "Data": dict,
}
_KINDS: dict[type, str] = {str: "a text", int: "an integer of milliseconds since the epoch", dict: "an object"}


def to_json(value: object) -> bytes:
    """Return compact JSON in UTF-8.

    :raises PayloadError: for what JSON has no form for
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"the event can't be written as JSON: {error}") from None
    # A lone surrogate (a file name, half an emoji) has no UTF-8 form; JSON's own escape would not survive either.
    return text.encode("utf-8", errors="replace")


def build_payload(delivery: Delivery, attempt_id: str) -> bytes:
    """Return the body of one attempt of a delivery.

    :raises PayloadError: where the event's data is no JSON
    """
    event = delivery.event
    return to_json(
        {
            "Id": event.id,
            "Topic": event.topic,
            "CreatedAt": event.created_at,
            "UpdatedAt": event.created_at,
            "Resource": event.resource,
            "PreviousData": None,
            "OrganizationId": event.organization_id,
            "Data": event.data,
            "Metadata": {
                "Webhook": {"Id": delivery.webhook_id},
                "Delivery": {"Id": delivery.id},
                "Attempt": {"Id": attempt_id},
                "Event": {"Id": event.id, "Topic": event.topic},
            },
        }
    )


def event_to_json(event: Event) -> bytes:
    """Return the event as the intake takes it and the outbox stores it.

    :raises PayloadError: where the event's data is no JSON
    """
    return to_json(
        {
            "Id": event.id,
            "Topic": event.topic,
            "CreatedAt": event.created_at,
            "OrganizationId": event.organization_id,
            "Resource": event.resource,
            "Data": event.data,
        }
    )


def event_from_json(body: bytes) -> Event:
    """Return the event that :func:`event_to_json` wrote.

    :raises PayloadError: where it is none, naming the field
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise PayloadError("the body is not JSON") from None
    if not isinstance(value, dict):
        raise PayloadError("the body is not a JSON object")
    for name, kind in _EVENT_FIELDS.items():
        given = value.get(name)
        if not isinstance(given, kind) or isinstance(given, bool):
            raise PayloadError(f"{name}: must be {_KINDS[kind]}")
    if not 0 < len(value["Id"]) <= MAX_ID or value["Topic"] not in EVENT_TOPICS:
        raise PayloadError(f"Id: must have 1 to {MAX_ID} characters; Topic: must be one of {', '.join(EVENT_TOPICS)}")
    return Event(
        id=value["Id"],
        topic=value["Topic"],
        created_at=value["CreatedAt"],
        organization_id=value["OrganizationId"],
        resource=value["Resource"],
        data=value["Data"],
    )


def ping_event(webhook: Webhook, *, event_id: str, organization_id: str, now: int) -> Event:
    """Return the event of a ping, which tells the endpoint what we know of it.

    :param now: milliseconds since the epoch
    """
    data: Mapping[str, object] = {
        "Id": webhook.id,
        "Alias": webhook.nickname,
        "Url": webhook.endpoint,
        "Topics": list(webhook.topics),
        "State": "active",
        "OrganizationId": organization_id,
    }
    return Event(event_id, PING, now, organization_id, WEBHOOK, data)
