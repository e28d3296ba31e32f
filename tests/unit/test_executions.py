"""Callback contexts become events, field by field as docs/receiving.md promises.

Invariant: the contexts are Airflow's own, and what is expected of them is written out.
"""

from __future__ import annotations

import subprocess
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException

from airflow_webhook_notify import topics
from airflow_webhook_notify.executions import Built, Sources, build_event, exit_status, text_of, topic_of_context
from airflow_webhook_notify.models import event_id
from tests import contexts
from tests.contexts import END, START, TI_ID, ms

RUN_ID = "scheduled__2026-01-02T00:00:00+00:00"
SOURCES = Sources(
    "acme", 1_800_000_000_000, lambda text, _key: text.replace("hunter2", "***"), "https://airflow.example.com/"
)


def work() -> None:
    """What the Python task runs."""


@pytest.fixture
def dag() -> DAG:
    with DAG("etl", schedule=None, dagrun_timeout=timedelta(hours=1)) as dag:
        BashOperator(task_id="load", bash_command="python run_etl.py", execution_timeout=timedelta(minutes=30))
        PythonOperator(task_id="call", python_callable=work)
    return dag


def built(context: dict[str, Any], custom: dict[str, Any] | None = None, state: str | None = None) -> Built:
    return build_event(context, custom, SOURCES, fallback_state=state)


def test_a_failed_task_field_by_field(dag: DAG) -> None:
    error = AirflowException("Bash command failed. The command returned a non-zero exit code 7.")
    context = contexts.task_context(dag.get_task("load"), state="failed", try_number=2, max_tries=1, exception=error)
    event = built(context, {"owner": "data"}).event
    identity = event_id(
        organization_id="acme",
        dag_id="etl",
        run_id=RUN_ID,
        clear_number=0,
        task_id="load",
        map_index=-1,
        try_number=2,
        topic=topics.FAILED,
    )
    assert (event.id, event.topic, event.created_at) == (identity, topics.FAILED, ms(END))
    assert (event.organization_id, event.resource) == ("acme", "JobExecution")
    assert event.data == {
        "Id": str(TI_ID),
        "JobId": "etl.load",
        "OrganizationId": "acme",
        "State": "failed",
        "TriggerType": "schedule",
        "AttemptsCount": 2,
        "NextAttemptAt": None,
        "CreatedAt": ms(START),
        "UpdatedAt": ms(END),
        "Target": {"Type": "task", "Command": "python run_etl.py", "TimeToLive": 1800},
        "LastAttempt": {
            "Id": str(TI_ID),
            "State": "failed",
            "CreatedAt": ms(START),
            "ExitStatus": 7,
            "Message": "AirflowException: Bash command failed. The command returned a non-zero exit code 7.",
        },
        "Airflow": {
            "DagId": "etl",
            "RunId": RUN_ID,
            "TaskId": "load",
            "MapIndex": -1,
            "TryNumber": 2,
            "Operator": "BashOperator",
            "State": "failed",
            "LogicalDate": "2026-01-02T00:00:00+00:00",
            "LogUrl": "https://airflow.example.com/dags/etl/runs/scheduled__2026-01-02T00%3A00%3A00%2B00%3A00"
            "/tasks/load?try_number=2",
        },
        "Custom": {"owner": "data"},
    }


def test_a_started_task_has_no_exit_status_and_no_message(dag: DAG) -> None:
    event = built(contexts.task_context(dag.get_task("call"), state="running", ended=False)).event
    assert (event.topic, event.created_at, event.data["State"]) == (topics.STARTED, ms(START), "running")
    assert event.data["Target"] == {"Type": "task", "TimeToLive": None, "Command": f"{__name__}.work"}
    assert event.data["LastAttempt"] == {
        "Id": str(TI_ID),
        "State": "running",
        "CreatedAt": ms(START),
        "ExitStatus": None,
        "Message": None,
    }


def test_the_command_of_a_function_has_the_name_that_its_author_knows(dag: DAG) -> None:
    task: Any = dag.get_task("call")

    def mangled() -> None: ...

    mangled.__module__ = f"unusual_prefix_{'0a' * 20}_my_dag"
    mangled.__qualname__ = "is_python"
    task.python_callable = mangled
    event = built(contexts.task_context(task, state="success")).event
    assert event.data["Target"]["Command"] == "my_dag.is_python"  # type: ignore[index]


def test_a_succeeded_task_has_exit_status_0(dag: DAG) -> None:
    event = built(contexts.task_context(dag.get_task("load"), state="success")).event
    assert (event.topic, event.data["State"], event.data["LastAttempt"]["ExitStatus"]) == (  # type: ignore[index]
        topics.SUCCEEDED,
        "succeeded",
        0,
    )


def test_a_skipped_task_succeeded(dag: DAG) -> None:
    event = built(contexts.task_context(dag.get_task("load"), state="skipped", ended=False)).event
    assert (event.topic, event.data["State"], event.data["Airflow"]["State"]) == (  # type: ignore[index]
        topics.SUCCEEDED,
        "succeeded",
        "skipped",
    )
    # Airflow sets no end when a task skips itself, so it is the time of the callback.
    assert event.created_at == SOURCES.now


def test_a_try_that_will_be_tried_again_failed_and_says_when(dag: DAG) -> None:
    task: Any = dag.get_task("load")
    task.retry_delay = timedelta(seconds=90)
    event = built(contexts.task_context(task, state="up_for_retry", max_tries=1)).event
    assert (event.topic, event.data["State"], event.data["Airflow"]["State"]) == (  # type: ignore[index]
        topics.FAILED,
        "failed",
        "up_for_retry",
    )
    assert event.data["NextAttemptAt"] == ms(END) + 90_000


def test_each_try_is_an_event_of_its_own(dag: DAG) -> None:
    task = dag.get_task("load")
    ids = {
        built(contexts.task_context(task, state="failed", try_number=n, map_index=m)).event.id
        for n in (1, 2)
        for m in (-1, 0, 1)
    }
    assert len(ids) == 6


def test_the_same_try_has_the_same_id_whoever_notices_it(dag: DAG) -> None:
    task = dag.get_task("load")
    by_task = built(contexts.task_context(task, state="failed", exception=ValueError("x")))
    # As in the DAG processor: no state, no exception; and the run was cleared in the meantime.
    run = contexts.dag_run(clear_number=3)
    by_dag_processor = built(contexts.task_context(task, state=None, run=run), state="failed")
    assert by_task.event.id == by_dag_processor.event.id
    assert by_dag_processor.event.data["LastAttempt"]["Message"] == (  # type: ignore[index]
        "Airflow gave no reason; the task's process may have been killed"
    )


def test_without_a_state_a_try_that_has_tries_left_will_be_tried_again(dag: DAG) -> None:
    task = dag.get_task("load")
    left = built(contexts.task_context(task, state=None, try_number=1, max_tries=1)).event
    none_left = built(contexts.task_context(task, state=None, try_number=2, max_tries=1)).event
    assert left.data["Airflow"]["State"] == "up_for_retry"  # type: ignore[index]
    assert none_left.data["Airflow"]["State"] == "failed"  # type: ignore[index]


def test_a_failed_run_field_by_field(dag: DAG) -> None:
    event = built(contexts.dag_context(dag, reason="task_failure")).event
    assert (event.topic, event.created_at) == (topics.FAILED, ms(END))
    assert event.data == {
        "Id": RUN_ID,
        "JobId": "etl",
        "OrganizationId": "acme",
        "State": "failed",
        "TriggerType": "schedule",
        "AttemptsCount": 1,
        "NextAttemptAt": None,
        "CreatedAt": ms(START),
        "UpdatedAt": ms(END),
        "Target": {"Type": "dag", "Command": None, "TimeToLive": 3600},
        "LastAttempt": {
            "Id": RUN_ID,
            "State": "failed",
            "CreatedAt": ms(START),
            "ExitStatus": 1,
            "Message": "task_failure",
        },
        "Airflow": {
            "DagId": "etl",
            "RunId": RUN_ID,
            "TaskId": None,
            "MapIndex": -1,
            "TryNumber": 0,
            "Operator": None,
            "State": "failed",
            "LogicalDate": "2026-01-02T00:00:00+00:00",
            "LogUrl": "https://airflow.example.com/dags/etl/runs/scheduled__2026-01-02T00%3A00%3A00%2B00%3A00",
        },
        "Custom": {},
    }


def test_a_run_that_was_cleared_is_an_event_of_its_own(dag: DAG) -> None:
    first = built(contexts.dag_context(dag, reason="success")).event
    again = built(contexts.dag_context(dag, reason="success", run=contexts.dag_run(clear_number=1, end_date=END))).event
    assert first.id != again.id
    assert (first.data["AttemptsCount"], again.data["AttemptsCount"]) == (1, 2)


def test_a_run_of_which_airflow_tells_only_the_id_is_reported(dag: DAG) -> None:
    event = built({"dag": dag, "run_id": "backfill__2026-01-02", "reason": "timed_out"}).event
    assert (event.data["Id"], event.data["JobId"], event.data["TriggerType"]) == (
        "backfill__2026-01-02",
        "etl",
        "backfill",
    )
    assert event.created_at == event.data["CreatedAt"] == SOURCES.now


def test_a_missed_deadline_is_overdue() -> None:
    run = {
        "dag_id": "etl",
        "dag_run_id": "manual__1",
        "run_type": "manual",
        "state": "running",
        "start_date": "2026-01-02T03:04:05.678Z",
        "logical_date": None,
    }
    context = {"dag_run": run, "deadline": {"id": "d1", "deadline_time": "2026-01-02T04:00:00Z"}}
    event = built(context).event
    other = built({**context, "deadline": {"id": "d2", "deadline_time": "2026-01-02T04:00:00Z"}}).event
    assert topic_of_context(context) == topics.OVERDUE
    assert (event.topic, event.data["JobId"], event.data["Id"], event.data["State"]) == (
        topics.OVERDUE,
        "etl",
        "manual__1",
        "running",
    )
    assert event.data["LastAttempt"]["Message"] == "the deadline 2026-01-02T04:00:00Z has passed"  # type: ignore[index]
    assert event.data["CreatedAt"] == ms(START)
    assert other.id != event.id


@pytest.mark.parametrize(
    ("run_type", "trigger_type"),
    [("scheduled", "schedule"), ("manual", "manual"), ("backfill", "backfill"), ("asset_triggered", "asset_triggered")],
)
def test_the_trigger_types(dag: DAG, run_type: str, trigger_type: str) -> None:
    run = contexts.dag_run(run_type=run_type)
    event = built(contexts.task_context(dag.get_task("load"), state="success", run=run)).event
    assert event.data["TriggerType"] == trigger_type


class OddError(Exception):
    """An exception whose text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("exception", "status"),
    [
        (None, 1),
        (ValueError("x"), 1),
        (SystemExit(3), 3),
        (SystemExit("text"), 1),
        (SystemExit(0), 1),
        (subprocess.CalledProcessError(9, "x"), 9),
        (AirflowException("Bash command failed. The command returned a non-zero exit code 7."), 7),
        (AirflowException("SSH operator error: exit status = 3"), 3),
        (AirflowException("Docker container failed: {'Error': None, 'StatusCode': 137} exit code: 137"), 137),
        (AirflowException("Process exited with code -9."), -9),
        (AirflowException("the record with code 12 is missing"), 1),
        (OddError(), 1),
    ],
)
def test_the_exit_status_is_that_of_the_process(exception: BaseException | None, status: int) -> None:
    assert exit_status(topics.FAILED, exception) == status


def test_the_text_of_an_exception_names_its_kind() -> None:
    assert text_of(KeyError("x")) == "KeyError: 'x'"
    assert text_of(ValueError()) == "ValueError"
    assert text_of(OddError()) == "OddError: (its text can't be read)"


def test_secrets_are_masked_and_long_texts_cut_in_plain_sight(dag: DAG) -> None:
    task: Any = dag.get_task("load")
    task.bash_command = "login --password hunter2"
    error = ValueError("hunter2 " + "\udcff" + "x" * 2**20)
    result = built(contexts.task_context(task, state="failed", exception=error), {"note": "hunter2"})
    data = result.event.data
    assert "hunter2" not in repr(data)
    assert data["Target"]["Command"] == "login --password ***"  # type: ignore[index]
    message = data["LastAttempt"]["Message"]  # type: ignore[index]
    assert message.startswith("ValueError: *** ?xxx")
    assert len(message.encode()) == 4096
    assert data["Truncated"] is True
    assert result.problems == ("LastAttempt.Message is cut after 4096 bytes",)


class Hostile(dict):  # type: ignore[type-arg]
    """A mapping that can't be read."""

    def items(self) -> Any:
        raise RuntimeError("no")


def test_data_that_can_not_be_read_costs_only_itself(dag: DAG) -> None:
    result = built(contexts.task_context(dag.get_task("load"), state="success"), {"a": Hostile(x=1)})
    assert result.event.data["Custom"] == {}
    assert result.problems == ("data is left out: reading it raised RuntimeError",)


def test_a_callback_with_no_topic_is_none_of_ours(dag: DAG) -> None:
    assert topic_of_context(contexts.task_context(dag.get_task("load"), state="deferred")) is None
    assert topic_of_context({}) is None
