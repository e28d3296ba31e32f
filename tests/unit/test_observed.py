"""What rows say has happened, and the events of it, by value."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_webhook_notify.causes import Cause, Kind
from airflow_webhook_notify.executions import Sources, build_event
from airflow_webhook_notify.observed import (
    Known,
    Occurrence,
    RunRow,
    TaskDefinition,
    TaskRow,
    build,
    happened_to_run,
    happened_to_task,
)
from tests import contexts

STARTED, SUCCEEDED, FAILED = "job.execution.started", "job.execution.succeeded", "job.execution.failed"
START, END, CHANGED = contexts.ms(contexts.START), contexts.ms(contexts.END), contexts.ms(contexts.END) + 500
SOURCES = Sources("org", CHANGED, lambda text, _: text, "http://airflow.example.com")

RUN = RunRow(
    key=1,
    dag_id="etl",
    run_id="scheduled__2026-01-02T00:00:00+00:00",
    state="running",
    run_type="scheduled",
    clear_number=0,
    start=START,
    end=None,
    updated=CHANGED,
    logical_date=contexts.LOGICAL_DATE,
)
TASK = TaskRow(
    id=str(contexts.TI_ID),
    dag_id=RUN.dag_id,
    run_id=RUN.run_id,
    task_id="load",
    map_index=-1,
    try_number=1,
    max_tries=0,
    state="running",
    start=START,
    end=None,
    queued=START - 100,
    updated=CHANGED,
    ran=True,
    operator="BashOperator",
)


def of_run(run: RunRow, **known: Any) -> list[tuple[str, str, int]]:
    """What a run's row says."""
    return [(item.topic, item.state, item.at) for item in happened_to_run(run, **known)]


def of_task(task: TaskRow, **known: Any) -> list[tuple[str, str, int]]:
    """What a task's row says."""
    return [(item.topic, item.state, item.at) for item in happened_to_task(RUN, task, **known)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": "queued", "start": None}, []),
        ({"state": "running"}, [(STARTED, "running", START)]),
        ({"state": "success", "end": END}, [(STARTED, "running", START), (SUCCEEDED, "success", END)]),
        ({"state": "failed", "end": END}, [(STARTED, "running", START), (FAILED, "failed", END)]),
        ({"state": "failed", "start": None, "end": END}, [(FAILED, "failed", END)]),
        ({"state": "failed", "start": None, "end": None}, [(FAILED, "failed", CHANGED)]),
    ],
)
def test_a_run_says_that_it_started_and_how_it_ended(changes: dict[str, Any], said: list[Any]) -> None:
    assert of_run(replace(RUN, **changes)) == said


def test_a_run_that_a_person_changed_ended_when_they_did() -> None:
    assert of_run(replace(RUN, state="failed", end=END), changed_by_hand=True)[1:] == [(FAILED, "failed", CHANGED)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": "scheduled", "start": None, "ran": False}, []),
        ({"state": "queued", "try_number": 2}, []),
        ({"state": "restarting", "waits": True}, []),
        ({"state": "up_for_retry", "waits": True}, []),
        ({"state": "removed"}, []),
        ({"state": "running"}, [(STARTED, "running", START)]),
        ({"state": "deferred"}, [(STARTED, "running", START)]),
        ({"state": "up_for_reschedule"}, [(STARTED, "running", START)]),
        ({"state": "success", "end": END}, [(STARTED, "running", START), (SUCCEEDED, "success", END)]),
        ({"state": "skipped", "end": END}, [(STARTED, "running", START), (SUCCEEDED, "skipped", END)]),
        ({"state": "failed", "end": END}, [(STARTED, "running", START), (FAILED, "failed", END)]),
        # The run timed out: Airflow skips what is running, and dates nothing.
        ({"state": "skipped", "end": None}, [(STARTED, "running", START), (SUCCEEDED, "skipped", CHANGED)]),
        # Never ran: an empty operator, what its upstream or a person decided.
        ({"state": "success", "end": END, "ran": False}, [(SUCCEEDED, "success", END)]),
        ({"state": "upstream_failed", "try_number": 0, "end": END}, [(FAILED, "upstream_failed", CHANGED)]),
        # It failed in the queue; the start is that of the try before.
        ({"state": "failed", "try_number": 2, "queued": START + 1, "end": END}, [(FAILED, "failed", END)]),
        # Cleared, and then upstream failed: start and end are those of the try before.
        ({"state": "upstream_failed", "waits": True, "end": END}, [(FAILED, "upstream_failed", CHANGED)]),
    ],
)
def test_a_task_says_what_its_try_did(changes: dict[str, Any], said: list[Any]) -> None:
    assert of_task(replace(TASK, **changes)) == said


def test_a_try_that_another_follows_is_said_to_be_up_for_retry() -> None:
    past = replace(TASK, state="failed", end=END, past=True)
    assert of_task(past, will_retry=True)[1:] == [(FAILED, "up_for_retry", END)]


def keys(*items: Occurrence) -> set[tuple[object, ...]]:
    """What tells them apart."""
    return {item.key for item in items}


def test_clearing_a_task_of_a_run_that_goes_on_starts_no_run() -> None:
    assert keys(*happened_to_run(RUN)) == keys(*happened_to_run(replace(RUN, clear_number=1)))


def test_a_cleared_run_starts_and_ends_again() -> None:
    first = replace(RUN, state="success", end=END)
    again = replace(first, clear_number=1, start=START + 9000, end=END + 9000)
    assert len(keys(*happened_to_run(first), *happened_to_run(again))) == 4


def test_a_task_that_never_began_is_told_of_each_time() -> None:
    first = replace(TASK, state="upstream_failed", try_number=0, id="a")
    cleared = replace(first, id="b", waits=True)
    failed = replace(TASK, state="failed", try_number=1, id="c", end=END)
    waiting = replace(failed, state="upstream_failed", id="d", waits=True)
    ended = [list(happened_to_task(RUN, row))[-1] for row in (first, cleared, failed, waiting)]
    assert len(keys(*ended)) == 4
    past = list(happened_to_task(replace(RUN, clear_number=1), replace(first, past=True)))
    assert keys(*past) == {ended[0].key}


# The same events as callbacks'


def callback_data(context: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Id and data of the event that a callback with this context sends."""
    event = build_event(context, None, SOURCES).event
    return event.id, dict(event.data)


def watched(occurrence: Occurrence, **known: Any) -> tuple[str, dict[str, Any]]:
    """Id and data of the event that is made from rows, without what callbacks don't tell."""
    event = build(occurrence, Known(**known), SOURCES).event
    data = dict(event.data)
    data.pop("WillRetry", None)
    data["Airflow"] = {name: value for name, value in data["Airflow"].items() if name != "Cause"}  # type: ignore[attr-defined]
    return event.id, data


def make_task(**arguments: Any) -> BashOperator:
    """The task of `TASK`."""
    with DAG("etl"):
        return BashOperator(task_id="load", bash_command="true", **arguments)


DEFINITION = TaskDefinition(retry_delay=timedelta(minutes=5), command="true")


@pytest.mark.parametrize("state", ["running", "success", "skipped"])
@pytest.mark.parametrize("map_index", [-1, 3])
def test_a_tasks_event_is_the_callbacks(state: str, map_index: int) -> None:
    context = contexts.task_context(
        make_task(execution_timeout=timedelta(seconds=90)), state=state, map_index=map_index, ended=state != "running"
    )
    row = replace(TASK, state=state, map_index=map_index, end=None if state == "running" else END)
    definition = replace(DEFINITION, execution_timeout=timedelta(seconds=90))
    occurrence = list(happened_to_task(RUN, row))[-1]
    assert watched(occurrence, definition=definition) == callback_data(context)


@pytest.mark.parametrize(("state", "backoff"), [("failed", 0), ("up_for_retry", 0), ("up_for_retry", 2.0)])
def test_a_failed_tasks_event_is_the_callbacks(state: str, backoff: float) -> None:
    task = make_task(retries=3, retry_exponential_backoff=backoff)
    error = RuntimeError("exit code 7")
    context = contexts.task_context(task, state=state, try_number=2, max_tries=3, exception=error)
    row = replace(TASK, state="failed", try_number=2, max_tries=3, end=END, past=state != "failed")
    (*_, occurrence) = happened_to_task(RUN, row, will_retry=state == "up_for_retry")
    cause = Cause(Kind.EXCEPTION, "RuntimeError: exit code 7", 7)
    definition = replace(DEFINITION, retry_exponential_backoff=backoff)
    assert watched(occurrence, cause=cause, definition=definition) == callback_data(context)


@pytest.mark.parametrize(("reason", "state"), [("success", "success"), ("task_failure", "failed")])
def test_a_runs_event_is_the_callbacks(reason: str, state: str) -> None:
    dag = DAG("etl", dagrun_timeout=timedelta(hours=1))
    BashOperator(task_id="load", bash_command="true", dag=dag)
    run = contexts.dag_run(end_date=contexts.END, state=state, clear_number=2)
    context = contexts.dag_context(dag, reason=reason, run=run)
    row = replace(RUN, state=state, end=END, clear_number=2)
    (_, occurrence) = happened_to_run(row)
    cause = Cause(Kind.EXCEPTION, "task_failure")
    assert watched(occurrence, cause=cause, time_to_live=3600.0) == callback_data(context)


def test_a_failure_tells_its_cause_and_whether_another_try_follows() -> None:
    (*_, failed) = happened_to_task(RUN, replace(TASK, state="failed", end=END))
    data: Any = build(failed, Known(cause=Cause(Kind.KILLED, "gone")), SOURCES).event.data
    assert (data["Airflow"]["Cause"], data["WillRetry"]) == ("killed", False)
    assert (data["LastAttempt"]["Message"], data["LastAttempt"]["ExitStatus"]) == ("gone", 1)
    (started,) = happened_to_task(RUN, TASK)
    assert "Cause" not in build(started, Known(), SOURCES).event.data["Airflow"]  # type: ignore[operator]


def test_a_retry_policys_delay_decides_when_the_next_try_is() -> None:
    row = replace(TASK, state="failed", end=END, past=True, retry_delay=12.5)
    (*_, failed) = happened_to_task(RUN, row, will_retry=True)
    data = build(failed, Known(definition=TaskDefinition(retry_policy=object())), SOURCES).event.data
    assert data["NextAttemptAt"] == END + 12_500
