"""Rows to values and back.

Invariant: every text that reaches the database can be stored there, whatever bytes an endpoint or a DAG author sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from airflow_webhook_notify.exceptions import PayloadError
from airflow_webhook_notify.models import Attempt, Delivery, DeliveryState, Event, derived_id
from airflow_webhook_notify.outbox.records import Claim, DeliveryRecord, WebhookStatus
from airflow_webhook_notify.outbox.tables import ERROR_LENGTH, EVENT_ID_LENGTH, ID_LENGTH, TOPIC_LENGTH

Values: TypeAlias = dict[str, Any]
#: SQLAlchemy 2.0 and 2.1 write the type of a row differently.
AnyRow: TypeAlias = Any


def storable(text: str, length: int) -> str:
    """Return the text without what PostgreSQL (NUL) or UTF-8 (half a character) can't hold, cut to `length`."""
    return text[:length].replace("\0", "�").encode("utf-8", "replace").decode()


def delivery_values(delivery: Delivery, *, now: int, manual: bool = False) -> Values:
    """Return the row of a delivery that is due at once.

    :raises PayloadError: where the event can't be stored
    """
    event = delivery.event
    return {
        "id": delivery.id,
        "webhook_id": _identifier("webhook id", delivery.webhook_id, ID_LENGTH),
        "event_id": _identifier("event id", event.id, EVENT_ID_LENGTH),
        "topic": _identifier("topic", event.topic, TOPIC_LENGTH),
        "event_at": event.created_at,
        "organization_id": _identifier("OrganizationId", event.organization_id, ID_LENGTH),
        "resource": _identifier("resource", event.resource, TOPIC_LENGTH),
        "data": _dump(event.data),
        **_reference(event),
        "state": DeliveryState.PENDING.value,
        "is_manual": manual,
        "created_at": now,
        "due_at": now,
        "attempts_count": 0,
        "schedule_start": 0,
    }


def _identifier(name: str, value: str, length: int) -> str:
    # Cut or changed, an id would name something else.
    if len(value) > length or storable(value, length) != value:
        raise PayloadError(f"the {name} can't be stored: give at most {length} characters, none of them NUL")
    return value


def _dump(data: Mapping[str, object]) -> str:
    try:
        return json.dumps(data, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"the event can't be written as JSON: {error}") from None


def _reference(event: Event) -> Values:
    """Return what the log is searched by, from the event's `Data.Airflow`; None for what it does not tell."""
    airflow = event.data.get("Airflow")
    told = airflow if isinstance(airflow, Mapping) else {}
    texts = {"dag_id": "DagId", "run_id": "RunId", "task_id": "TaskId"}
    numbers = {"map_index": "MapIndex", "try_number": "TryNumber"}
    return {
        **{column: _text_or_none(told.get(key)) for column, key in texts.items()},
        **{column: _number_or_none(told.get(key)) for column, key in numbers.items()},
    }


def _text_or_none(value: object) -> str | None:
    return storable(value, ID_LENGTH) if isinstance(value, str) else None


def _number_or_none(value: object) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
    return value if fits and isinstance(value, int) else None


def attempt_values(attempt: Attempt) -> Values:
    """Return the row of an attempt."""
    return {
        "delivery_id": attempt.delivery_id,
        "number": attempt.number,
        "started_at": attempt.started_at,
        "duration_us": round(attempt.duration * 1_000_000),
        "status": attempt.status,
        "error": None if attempt.error is None else storable(attempt.error, ERROR_LENGTH),
        "response": storable(attempt.response, len(attempt.response)),
        "retry_after_ms": None if attempt.retry_after is None else math.ceil(attempt.retry_after * 1000),
        "final": attempt.final,
    }


def latest_attempt_values(attempt: Attempt) -> Values:
    """Return what a delivery's row repeats of its latest attempt, so that a list needs no join."""
    error = None if attempt.error is None else storable(attempt.error, ERROR_LENGTH)
    return {"last_status": attempt.status, "last_error": error}


def attempt_of(row: AnyRow) -> Attempt:
    """Return the attempt of a row."""
    return Attempt(
        id=derived_id(row.delivery_id, row.number),
        delivery_id=row.delivery_id,
        number=row.number,
        started_at=row.started_at,
        duration=row.duration_us / 1_000_000,
        status=row.status,
        error=row.error,
        response=row.response,
        retry_after=None if row.retry_after_ms is None else row.retry_after_ms / 1000,
        final=row.final,
    )


def event_of(row: AnyRow) -> Event:
    """Return the event of a delivery's row."""
    data = json.loads(row.data)
    return Event(row.event_id, row.topic, row.event_at, row.organization_id, row.resource, data)


def claim_of(row: AnyRow, *, token: str, expires_at: int) -> Claim:
    """Return the claim of a delivery's row."""
    return Claim(
        delivery=Delivery(row.id, row.webhook_id, event_of(row)),
        number=row.attempts_count + 1,
        step=row.attempts_count - row.schedule_start + 1,
        token=token,
        expires_at=expires_at,
        due_at=row.due_at,
        created_at=row.created_at,
        manual=row.is_manual,
    )


def record_of(row: AnyRow) -> DeliveryRecord:
    """Return the log's line of a delivery's row."""
    return DeliveryRecord(
        id=row.id,
        webhook_id=row.webhook_id,
        event_id=row.event_id,
        topic=row.topic,
        state=DeliveryState(row.state),
        event_at=row.event_at,
        created_at=row.created_at,
        due_at=row.due_at,
        attempts_count=row.attempts_count,
        delivered_at=row.delivered_at,
        last_status=row.last_status,
        last_error=row.last_error,
        leased_until=row.lease_expires_at,
        manual=row.is_manual,
        dag_id=row.dag_id,
        run_id=row.run_id,
        task_id=row.task_id,
        map_index=row.map_index,
        try_number=row.try_number,
    )


def status_of(row: AnyRow) -> WebhookStatus:
    """Return the state of a webhook's row."""
    return WebhookStatus(
        webhook_id=row.webhook_id,
        paused_at=row.paused_at,
        paused_reason=row.paused_reason,
        failing_since=row.failing_since,
        last_success_at=row.last_success_at,
        resumed_at=row.resumed_at,
    )
