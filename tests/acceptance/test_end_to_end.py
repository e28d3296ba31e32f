"""One real Airflow, tasks of every kind, and each event as the wire format promises it, field by field."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator

from airflow_webhook_notify.schema import payload_schema
from airflow_webhook_notify.signing import verify
from airflow_webhook_notify.version import package_version
from tests.acceptance.webhooks import (
    LOGICAL_DATE,
    ORGANIZATION,
    RUN_ID,
    SECRET,
    SECRET_PATH,
    Happening,
    Runs,
    Times,
    payload_of,
)
from tests.verifiers import verify_everywhere

STARTED, SUCCEEDED, FAILED = "job.execution.started", "job.execution.succeeded", "job.execution.failed"
EXIT_ONE = "AirflowException: Bash command failed. The command returned a non-zero exit code 1."
EXIT_SEVEN = "AirflowException: Bash command failed. The command returned a non-zero exit code 7."
WIRE_STATES = {STARTED: "running", SUCCEEDED: "succeeded", FAILED: "failed"}
STATUSES = {STARTED: None, SUCCEEDED: 0, FAILED: 1}


@dataclass(frozen=True)
class Expected:
    """What one task's event says, besides what Airflow itself knows of it."""

    task_id: str
    topic: str
    state: str
    operator: str = "BashOperator"
    command: str | None = "true"
    map_index: int = -1
    try_number: int = 1
    exit_status: int | None = None
    error: str | None = None
    time_to_live: int | None = None
    retried: bool = False
    custom: dict[str, Any] = field(default_factory=dict)

    @property
    def happening(self) -> Happening:
        """What tells its event from others."""
        return Happening(f"every_kind.{self.task_id}", self.map_index, self.try_number, self.topic, self.state)

    def data(self, runs: Runs, times: Times, execution_id: str) -> dict[str, Any]:
        """Return the whole of the payload's `Data`."""
        status = STATUSES[self.topic] if self.exit_status is None else self.exit_status
        at = times.started if self.topic == STARTED else times.ended
        assert at is not None
        attempt = {"Id": execution_id, "State": WIRE_STATES[self.topic], "CreatedAt": times.started}
        return {
            "Id": execution_id,
            "JobId": f"every_kind.{self.task_id}",
            "OrganizationId": ORGANIZATION,
            "State": WIRE_STATES[self.topic],
            "TriggerType": "manual",
            "AttemptsCount": self.try_number,
            "NextAttemptAt": at + 1000 if self.retried else None,
            "CreatedAt": times.started,
            "UpdatedAt": at,
            "Target": {"Type": "task", "Command": self.command, "TimeToLive": self.time_to_live},
            "LastAttempt": {**attempt, "ExitStatus": status, "Message": self.error},
            "Airflow": self._reference(runs),
            "Custom": self.custom,
        }

    def _reference(self, runs: Runs) -> dict[str, Any]:
        page = f"{runs.airflow.url}/dags/every_kind/runs/{quote(RUN_ID, safe='')}/tasks/{self.task_id}"
        mapped = f"/mapped/{self.map_index}" if self.map_index >= 0 else ""
        return {
            "DagId": "every_kind",
            "RunId": RUN_ID,
            "TaskId": self.task_id,
            "MapIndex": self.map_index,
            "TryNumber": self.try_number,
            "Operator": self.operator,
            "State": self.state,
            "LogicalDate": LOGICAL_DATE,
            "LogUrl": f"{page}{mapped}?try_number={self.try_number}",
        }


def succeeds(task_id: str, **facts: Any) -> list[Expected]:
    """Return the two events of a task that succeeds at once."""
    return [Expected(task_id, STARTED, "running", **facts), Expected(task_id, SUCCEEDED, "success", **facts)]


def python(task_id: str, *, operator: str = "@task", **facts: Any) -> dict[str, Any]:
    """Return the facts of a task that is a Python function."""
    return {"task_id": task_id, "operator": operator, "command": f"reported.{task_id}", **facts}


EVERY_KIND = [
    *succeeds("succeeds", command=f"echo {RUN_ID}"),
    Expected("exits_seven", STARTED, "running", command="exit 7", time_to_live=1800),
    Expected(
        "exits_seven", FAILED, "failed",
        command="exit 7", time_to_live=1800, exit_status=7, error=EXIT_SEVEN,
    ),
    Expected("recovers", STARTED, "running", command="exit 1"),
    Expected("recovers", FAILED, "up_for_retry", command="exit 1", error=EXIT_ONE, retried=True),
    Expected("recovers", STARTED, "running", command="exit 0", try_number=2),
    Expected("recovers", SUCCEEDED, "success", command="exit 0", try_number=2),
    *succeeds("waits", operator="WaitOperator", command=None),
    Expected("adds_data", SUCCEEDED, "success", custom={"run": RUN_ID, "rows": 3}),
    *succeeds(**python("is_python")),
    *succeeds(**python("is_mapped", map_index=0)),
    *succeeds(**python("is_mapped", map_index=1)),
    *succeeds(**python("is_decorated")),
    Expected(**python("skips_itself"), topic=STARTED, state="running"),
    Expected(**python("skips_itself"), topic=SUCCEEDED, state="skipped"),
    *succeeds(**python("sets_up")),
    *succeeds("between"),
    *succeeds(**python("tears_down")),
]  # fmt: skip
EVERY_KIND_RUN = Happening("every_kind", -1, 0, FAILED, "failed")
ALL_EVENTS = {*(expected.happening for expected in EVERY_KIND), EVERY_KIND_RUN}


@pytest.fixture(scope="module")
def every_kind(runs: Runs) -> dict[Happening, dict[str, Any]]:
    """The payloads of one run of `every_kind`, all of them in."""
    assert runs.airflow.wait_for_run("every_kind", RUN_ID) == "failed"
    runs.wait_for_events("every_kind", ALL_EVENTS)
    return runs.heard("every_kind")


def test_each_happening_is_heard_of_and_nothing_else(every_kind: dict[Happening, dict[str, Any]]) -> None:
    assert set(every_kind) == ALL_EVENTS


@pytest.mark.parametrize(
    "expected", EVERY_KIND, ids=lambda case: f"{case.task_id}[{case.map_index}]-{case.try_number}-{case.state}"
)
def test_a_task_is_told_field_by_field(
    runs: Runs, every_kind: dict[Happening, dict[str, Any]], expected: Expected
) -> None:
    data = every_kind[expected.happening]["Data"]
    stored = runs.tries("every_kind")[(expected.task_id, expected.map_index, expected.try_number)]
    # The supervisor reports a start to the database, and the task's process begins a moment later.
    assert stored.started is not None
    assert stored.ended is not None
    assert stored.started <= data["CreatedAt"] <= stored.ended
    # Only a success has one date: the others get theirs in the database a little after the task's process had it.
    ended = stored.ended if expected.state == "success" else data["UpdatedAt"]
    assert data["CreatedAt"] <= ended <= stored.ended
    execution_id = runs.airflow.execution_id(
        "every_kind", RUN_ID, expected.task_id, map_index=expected.map_index, try_number=expected.try_number
    )
    assert data == expected.data(runs, Times(data["CreatedAt"], ended), execution_id)


def test_a_run_is_told_field_by_field(runs: Runs, every_kind: dict[Happening, dict[str, Any]]) -> None:
    times = runs.run_times("every_kind")
    data = run_data(runs, "every_kind", times, "failed", {"ExitStatus": 1, "Message": "task_failure"})
    assert every_kind[EVERY_KIND_RUN]["Data"] == {**data, "Airflow": {**data["Airflow"], "LogicalDate": LOGICAL_DATE}}


def test_a_dag_callback_alone_reports_the_run_that_succeeded(runs: Runs) -> None:
    expected = Happening("calm", -1, 0, SUCCEEDED, "success")
    runs.wait_for_events("calm", {expected})
    heard = runs.heard("calm")
    assert set(heard) == {expected}
    times = runs.run_times("calm")
    data = run_data(runs, "calm", times, "success", {"ExitStatus": 0, "Message": None})
    assert heard[expected]["Data"] == data


def run_data(
    runs: Runs, dag_id: str, times: Times, state: str, attempt: dict[str, Any], *, topic: str | None = None
) -> dict[str, Any]:
    """Return the whole of the `Data` of an event about a DAG run."""
    wire_state = WIRE_STATES[topic or {"failed": FAILED, "success": SUCCEEDED}[state]]
    last_attempt = {"Id": RUN_ID, "State": wire_state, "CreatedAt": times.started, **attempt}
    return {
        "Id": RUN_ID,
        "JobId": dag_id,
        "OrganizationId": ORGANIZATION,
        "State": wire_state,
        "TriggerType": "manual",
        "AttemptsCount": 1,
        "NextAttemptAt": None,
        "CreatedAt": times.started,
        "UpdatedAt": times.ended,
        "Target": {"Type": "dag", "Command": None, "TimeToLive": None},
        "LastAttempt": last_attempt,
        "Airflow": {
            "DagId": dag_id,
            "RunId": RUN_ID,
            "TaskId": None,
            "MapIndex": -1,
            "TryNumber": 0,
            "Operator": None,
            "State": state,
            "LogicalDate": None,
            "LogUrl": f"{runs.airflow.url}/dags/{dag_id}/runs/{quote(RUN_ID, safe='')}",
        },
        "Custom": {},
    }


def test_a_topic_that_the_webhook_does_not_name_is_not_sent(runs: Runs) -> None:
    expected = {Happening("choosy.fails", -1, 1, FAILED, "failed"), Happening("choosy", -1, 0, FAILED, "failed")}
    runs.wait_for_events("choosy", expected)
    assert set(runs.heard("choosy")) == expected


def test_a_missed_deadline_is_told_where_it_was_asked_for(runs: Runs) -> None:
    expected = Happening("late", -1, 0, "job.execution.overdue", "running")
    runs.wait_for_events("late", {expected})
    (runs.airflow.home / "was-heard").touch()
    assert runs.airflow.wait_for_run("late", RUN_ID) == "success"
    heard = runs.heard("late")
    assert set(heard) == {expected}
    data = heard[expected]["Data"]
    assert data["UpdatedAt"] >= runs.run_times("late").started
    assert data["LastAttempt"]["Message"].startswith("the deadline ")
    attempt = {"ExitStatus": None, "Message": data["LastAttempt"]["Message"]}
    times = Times(runs.run_times("late").started, data["UpdatedAt"])
    told = run_data(runs, "late", times, "running", attempt, topic=STARTED)
    assert data == {**told, "Custom": {"run": RUN_ID}}


def test_every_request_is_signed_so_that_independent_libraries_take_it(
    runs: Runs, every_kind: dict[Happening, dict[str, Any]]
) -> None:
    requests = runs.requests("every_kind")
    assert len(requests) >= len(ALL_EVENTS)
    for request in requests:
        verify_everywhere(request.body, request.header_map, SECRET)
        assert verify(request.body, request.headers, [SECRET]).id == payload_of(request)["Id"]


def test_every_request_has_the_form_of_the_wire_format(runs: Runs, every_kind: dict[Happening, dict[str, Any]]) -> None:
    validator = Draft202012Validator(payload_schema())
    for request in runs.requests("every_kind"):
        payload = payload_of(request)
        assert list(validator.iter_errors(payload)) == []
        assert request.body == json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        assert (request.method, request.path) == ("POST", f"/ops/{SECRET_PATH}")
        assert request.header("Content-Type") == "application/json"
        assert request.header("User-Agent") == f"airflow-webhook-notify/{package_version()}"
        assert request.header("webhook-id") == payload["Id"]
        assert request.header("Authorization") is None


def test_what_surrounds_the_data_agrees_with_it(runs: Runs, every_kind: dict[Happening, dict[str, Any]]) -> None:
    for happening, payload in every_kind.items():
        assert {name: payload[name] for name in payload if name not in ("Id", "Data", "Metadata")} == {
            "Topic": happening.topic,
            "CreatedAt": payload["Data"]["UpdatedAt"],
            "UpdatedAt": payload["Data"]["UpdatedAt"],
            "Resource": "JobExecution",
            "PreviousData": None,
            "OrganizationId": ORGANIZATION,
        }
        metadata = payload["Metadata"]
        assert metadata["Webhook"] == {"Id": "ops"}
        assert metadata["Event"] == {"Id": payload["Id"], "Topic": happening.topic}
        assert uuid.UUID(metadata["Delivery"]["Id"]).version == 5
        assert uuid.UUID(metadata["Attempt"]["Id"]).version


def test_each_event_has_one_id_of_its_own(runs: Runs, every_kind: dict[Happening, dict[str, Any]]) -> None:
    ids: dict[Happening, set[str]] = {}
    for request in runs.requests("every_kind"):
        payload = payload_of(request)
        ids.setdefault(Happening.of(payload), set()).add(payload["Id"])
    assert [len(of_one) for of_one in ids.values()] == [1] * len(ALL_EVENTS)
    assert len(set.union(*ids.values())) == len(ALL_EVENTS)
    assert {uuid.UUID(one).version for of_one in ids.values() for one in of_one} == {5}


def test_a_deferred_task_that_resumes_is_not_told_of_as_started_again(
    runs: Runs, every_kind: dict[Happening, dict[str, Any]]
) -> None:
    # Airflow calls the callback again, with an event that the outbox has already.
    assert runs.airflow.task_log("every_kind", RUN_ID, "waits").count(f"{STARTED} ") == 2
    started = Happening("every_kind.waits", -1, 1, STARTED, "running")
    assert [Happening.of(payload_of(request)) for request in runs.requests("every_kind")].count(started) == 1


def test_other_callbacks_in_the_same_list_run_too(runs: Runs, every_kind: dict[Happening, dict[str, Any]]) -> None:
    log = runs.airflow.task_log("every_kind", RUN_ID, "adds_data")
    assert log.count("another callback ran") == 2
