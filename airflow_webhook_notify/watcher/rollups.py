"""Many failed tasks of one run as one event.

Invariant: pure; the event's id follows from the events that it stands for, so the same storm has the same id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_webhook_notify import topics
from airflow_webhook_notify.executions import Sources, trigger_type_of
from airflow_webhook_notify.models import Event, derived_id
from airflow_webhook_notify.observed import RunRow
from airflow_webhook_notify.payloads import JOB_EXECUTION

#: Failures that the list names; the count counts all.
LISTED = 100
#: Characters of each one's message.
_TEXT = 120


def roll_up(run: RunRow, events: Sequence[Event], sources: Sources) -> Event:
    """Return the one event of several failures of a run's tasks.

    :param events: oldest first
    """
    identifier = derived_id("roll-up", *sorted(event.id for event in events))
    at = max(event.created_at for event in events)
    data: dict[str, Any] = {
        "Id": run.run_id,
        "JobId": run.dag_id,
        "OrganizationId": sources.organization_id,
        "State": topics.state_of(topics.FAILED),
        "TriggerType": trigger_type_of(run.run_type),
        "AttemptsCount": run.clear_number + 1,
        "NextAttemptAt": None,
        "CreatedAt": run.start or at,
        "UpdatedAt": at,
        "Target": {"Type": "dag", "TimeToLive": None, "Command": None},
        "LastAttempt": _last_attempt(run, events, at),
        "Airflow": _reference(run, events),
        "Failures": {"Count": len(events), "Tasks": [_line_of(event) for event in events[:LISTED]]},
        "WillRetry": all(event.data.get("WillRetry") is True for event in events),
        "Custom": {},
    }
    return Event(identifier, topics.FAILED, at, sources.organization_id, JOB_EXECUTION, data)


def _last_attempt(run: RunRow, events: Sequence[Event], at: int) -> dict[str, Any]:
    noun = "tasks" if len(events) > 1 else "task"
    return {
        "Id": run.run_id,
        "State": topics.state_of(topics.FAILED),
        "CreatedAt": run.start or at,
        "ExitStatus": 1,
        "Message": f"{len(events)} {noun} failed",
    }


def _reference(run: RunRow, events: Sequence[Event]) -> dict[str, Any]:
    told = _mapping(events[0].data, "Airflow")
    return {
        "DagId": run.dag_id,
        "RunId": run.run_id,
        "TaskId": None,
        "MapIndex": -1,
        "TryNumber": 0,
        "Operator": None,
        "State": run.state,
        "LogicalDate": told.get("LogicalDate"),
        "LogUrl": _run_url(told.get("LogUrl")),
        "Cause": told.get("Cause"),
    }


def _run_url(url: object) -> str | None:
    return url.partition("/tasks/")[0] if isinstance(url, str) else None


def _line_of(event: Event) -> dict[str, Any]:
    told, last = _mapping(event.data, "Airflow"), _mapping(event.data, "LastAttempt")
    message = last.get("Message")
    return {
        "EventId": event.id,
        "TaskId": told.get("TaskId"),
        "MapIndex": told.get("MapIndex"),
        "TryNumber": told.get("TryNumber"),
        "State": told.get("State"),
        "Cause": told.get("Cause"),
        "WillRetry": event.data.get("WillRetry"),
        "ExitStatus": last.get("ExitStatus"),
        "Message": message[:_TEXT] if isinstance(message, str) else None,
    }


def _mapping(data: Mapping[str, object], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}
