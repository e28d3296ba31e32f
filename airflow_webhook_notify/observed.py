"""Rows of the metadata database to what happened, and what happened to an `Event`.

Invariant: pure; what a callback reports too has the callback's id here, and what no callback ever reports has an
id that no callback can have. A row says the same however often it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_webhook_notify import topics
from airflow_webhook_notify.causes import UNKNOWN, Cause
from airflow_webhook_notify.executions import Built, Facts, Sources, event_of_facts, exit_status, trigger_type_of
from airflow_webhook_notify.models import Level
from airflow_webhook_notify.retry_delay import next_retry_at

#: The task's process is there, or gave its place up for a while.
_UNDER_WAY = ("running", "deferred", "up_for_reschedule", "awaiting_input")
_ENDED = ("success", "failed", "skipped", "upstream_failed")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A row of `dag_run`. Times are milliseconds since the epoch.

    :param key: the row's own number
    :param version: id of the DAG version that it was created with
    """

    key: int
    dag_id: str
    run_id: str
    state: str
    run_type: str
    clear_number: int
    start: int | None
    end: int | None
    updated: int
    logical_date: datetime | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A row of `task_instance` or `task_instance_history`. Times are milliseconds since the epoch.

    :param ran: whether a process ever ran it, in this try or an earlier one
    :param past: whether it is from the history: a try that is over, with another to come
    :param waits: whether its try number is in the history too, so that it is the row of a try that has not begun
    :param retry_delay: seconds that a retry policy asked for
    """

    id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    max_tries: int
    state: str
    start: int | None
    end: int | None
    queued: int | None
    updated: int
    ran: bool
    operator: str | None = None
    past: bool = False
    waits: bool = False
    retry_delay: float | None = None

    @property
    def began(self) -> bool:
        """Whether this very try began: a row keeps the start of the try before until its own."""
        if self.try_number < 1 or self.waits or self.start is None:
            return False
        if self.state in _UNDER_WAY:
            return True
        return self.ran and self.state in _ENDED and (self.queued is None or self.start >= self.queued)

    @property
    def ended_at(self) -> int:
        """When it ended; that of an earlier try, which a row keeps as well, does not count."""
        stale = self.end is None or self.waits or self.try_number < 1 or (self.queued or 0) > self.end
        return self.updated if stale or self.end is None else self.end


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """What the DAG says of a task, in Airflow's own names.

    :param renders: whether its process renders anything before the task begins
    """

    retry_delay: timedelta | None = None
    retry_exponential_backoff: float = 0
    max_retry_delay: timedelta | None = None
    retry_policy: object = None
    execution_timeout: timedelta | None = None
    command: str | None = None
    renders: bool = False


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One thing that happened to a run or a try.

    :param task: None where it happened to the run
    :param at: milliseconds since the epoch
    :param mark: what tells it from another with the callback's identity; empty where a callback reports it too
    """

    run: RunRow
    task: TaskRow | None
    topic: str
    state: str
    at: int
    mark: str = ""
    will_retry: bool = False

    @property
    def level(self) -> Level:
        """What it happened to."""
        return Level.DAG if self.task is None else Level.TASK

    @property
    def failed(self) -> bool:
        """Whether it is a failure."""
        return self.topic == topics.FAILED

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from all others of its run."""
        task = self.task
        if task is None:
            return self.run.clear_number if self.topic != topics.STARTED else 0, self.topic, self.mark
        return task.task_id, task.map_index, task.try_number, self.topic, self.mark

    @property
    def identity(self) -> dict[str, Any]:
        """The arguments of :func:`event_id` but the deployment's."""
        run, task = self.run, self.task
        started_run = task is None and self.topic == topics.STARTED
        return {
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            # Clearing a task of a run that goes on counts the run's clear number up, and starts no run.
            "clear_number": run.clear_number if task is None and not started_run else 0,
            "task_id": None if task is None else task.task_id,
            "map_index": -1 if task is None else task.map_index,
            "try_number": 0 if task is None else task.try_number,
            "topic": f"{self.topic}#{self.mark}" if self.mark else self.topic,
        }


def happened_to_run(run: RunRow, *, changed_by_hand: bool = False) -> Iterator[Occurrence]:
    """Return what a run's row says, oldest first.

    :param changed_by_hand: whether a person changed it lately, which leaves its end as it was
    """
    if run.start is not None and run.state in ("running", "success", "failed"):
        yield Occurrence(run, None, topics.STARTED, "running", run.start, mark=str(run.start))
    topic = topics.topic_of(run.state)
    if topic in (topics.SUCCEEDED, topics.FAILED):
        at = run.updated if changed_by_hand or run.end is None else run.end
        yield Occurrence(run, None, topic, run.state, at)


def happened_to_task(
    run: RunRow, task: TaskRow, *, will_retry: bool = False, changed_by_hand: bool = False
) -> Iterator[Occurrence]:
    """Return what a task's row says, oldest first.

    :param will_retry: whether this failed try is followed by another without anyone's doing
    :param changed_by_hand: whether a person changed it lately, which leaves its end as it was
    """
    if task.began and task.start is not None:
        yield Occurrence(run, task, topics.STARTED, "running", task.start)
    topic = topics.topic_of(task.state)
    if task.state not in _ENDED or topic is None:
        return
    # No callback tells of a try that never began, and a cleared one may end so again: by its own id.
    mark = task.id if task.waits or task.try_number < 1 else ""
    at = task.updated if changed_by_hand else task.ended_at
    state = "up_for_retry" if will_retry else task.state
    yield Occurrence(run, task, topic, state, at, mark=mark, will_retry=will_retry)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an occurrence beyond its rows.

    :param command: what the task ran, as it was rendered
    :param time_to_live: of a run, in seconds
    """

    cause: Cause | None = None
    definition: TaskDefinition = field(default_factory=TaskDefinition)
    command: str | None = None
    time_to_live: float | None = None


def build(occurrence: Occurrence, known: Known, sources: Sources) -> Built:
    """Return the event of an occurrence, as a callback would have built it but for the author's data."""
    status = _exit_status(occurrence, known.cause)
    data = {
        **_execution(occurrence, known),
        "State": topics.state_of(occurrence.topic),
        "TriggerType": trigger_type_of(occurrence.run.run_type),
        "Airflow": {**_reference(occurrence), **_cause_of(occurrence, known.cause)},
        **({"WillRetry": occurrence.will_retry} if occurrence.failed else {}),
    }
    data["LastAttempt"] = {
        "Id": data["Id"],
        "State": data["State"],
        "CreatedAt": data["CreatedAt"],
        "ExitStatus": status,
    }
    message = known.cause.message if known.cause is not None and occurrence.failed else None
    command = known.command or known.definition.command
    facts = Facts(
        occurrence.topic, occurrence.identity, data, command=command, message=message, at=max(occurrence.at, 1)
    )
    return event_of_facts(facts, None, sources)


def _exit_status(occurrence: Occurrence, cause: Cause | None) -> int | None:
    if occurrence.failed and cause is not None and cause.exit_status is not None:
        return cause.exit_status
    return exit_status(occurrence.topic, None)


def _execution(occurrence: Occurrence, known: Known) -> dict[str, Any]:
    run, task = occurrence.run, occurrence.task
    if task is None:
        return {
            "Id": run.run_id,
            "JobId": run.dag_id,
            "AttemptsCount": run.clear_number + 1,
            "NextAttemptAt": None,
            "CreatedAt": run.start,
            "Target": {"Type": "dag", "TimeToLive": _whole(known.time_to_live)},
        }
    timeout = known.definition.execution_timeout
    return {
        "Id": task.id,
        "JobId": f"{task.dag_id}.{task.task_id}",
        "AttemptsCount": task.try_number,
        "NextAttemptAt": _next_attempt_at(occurrence, task, known.definition),
        "CreatedAt": task.start if task.began else occurrence.at,
        "Target": {"Type": "task", "TimeToLive": _whole(timeout.total_seconds() if timeout else None)},
    }


def _next_attempt_at(occurrence: Occurrence, task: TaskRow, definition: TaskDefinition) -> int | None:
    if not occurrence.will_retry:
        return None
    if task.retry_delay is not None:
        return occurrence.at + round(task.retry_delay * 1000)
    context = {"logical_date": occurrence.run.logical_date}
    return next_retry_at(task, definition, context, end=occurrence.at)


def _reference(occurrence: Occurrence) -> dict[str, Any]:
    run, task = occurrence.run, occurrence.task
    return {
        "DagId": run.dag_id,
        "RunId": run.run_id,
        "TaskId": None if task is None else task.task_id,
        "MapIndex": -1 if task is None else task.map_index,
        "TryNumber": 0 if task is None else task.try_number,
        "Operator": None if task is None else task.operator,
        "State": occurrence.state,
        "LogicalDate": None if run.logical_date is None else run.logical_date.isoformat(),
    }


def _cause_of(occurrence: Occurrence, cause: Cause | None) -> dict[str, Any]:
    if not occurrence.failed:
        return {}
    return {"Cause": (cause or UNKNOWN).kind.value}


def _whole(seconds: float | None) -> float | None:
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds
