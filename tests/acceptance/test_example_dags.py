"""The example DAGs run in a real Airflow, and their receivers hear what the examples say they do."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_webhook_notify.signing import sign, verify
from tests.acceptance.airflow_under_test import AirflowUnderTest
from tests.processes import Process
from tests.servers import RecordingServer

EXAMPLES = Path(__file__).parents[2] / "example_dags"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RUN_ID = "example"
STARTED, SUCCEEDED, FAILED = "job.execution.started", "job.execution.succeeded", "job.execution.failed"
OVERDUE = "job.execution.overdue"
EXPECTED = {
    "webhook_for_tasks": [
        ("webhook_for_tasks.extract", STARTED, 1),
        ("webhook_for_tasks.extract", FAILED, 1),
        ("webhook_for_tasks.extract", STARTED, 2),
        ("webhook_for_tasks.extract", SUCCEEDED, 2),
    ],
    "webhook_for_runs": [("webhook_for_runs", SUCCEEDED, 0)],
    "webhook_with_data": [("webhook_with_data.load", SUCCEEDED, 1)],
    "webhook_for_deadline": [("webhook_for_deadline", OVERDUE, 0)],
}


@pytest.fixture(scope="module")
def heard(airflow: AirflowUnderTest) -> Iterator[RecordingServer]:
    """One run of each example whose webhook is `on_call`, all ended, and what that received."""
    with RecordingServer() as receiver:
        _add_webhook(airflow, "on_call", receiver.url("/on_call"))
        for dag_id in EXPECTED:
            conf = {"from": "2026-01-01"} if dag_id == "webhook_with_data" else {}
            airflow.trigger(dag_id, run_id=RUN_ID, conf=conf)
        for dag_id in EXPECTED:
            assert airflow.wait_for_run(dag_id, RUN_ID) == "success"
        yield receiver


@pytest.mark.parametrize("dag_id", EXPECTED)
def test_an_example_sends_the_events_that_it_says_and_no_others(
    airflow: AirflowUnderTest, heard: RecordingServer, dag_id: str
) -> None:
    expected = sorted(EXPECTED[dag_id])
    airflow.wait_until(f"all events of {dag_id} arrived", lambda: expected == _events(heard, dag_id), timeout=60)


def test_the_example_with_data_adds_it_rendered(airflow: AirflowUnderTest, heard: RecordingServer) -> None:
    airflow.wait_until("the event arrived", lambda: _events(heard, "webhook_with_data"), timeout=60)
    (payload,) = _payloads(heard, "webhook_with_data")
    custom = {"team": "payments", "priority": 2, "rows": "42", "period": {"from": "2026-01-01"}}
    assert payload["Data"]["Custom"] == custom


def test_the_example_of_retries_says_when_the_next_try_is_due(
    airflow: AirflowUnderTest, heard: RecordingServer
) -> None:
    payloads = _payloads(heard, "webhook_for_tasks")
    assert [bool(payload["Data"]["NextAttemptAt"]) for payload in payloads if payload["Topic"] == FAILED] == [True]


def test_every_request_of_the_examples_is_verified(heard: RecordingServer) -> None:
    assert heard.requests
    for request in heard.requests:
        verify(request.body, request.headers, SECRET, require_timestamp=True)


@pytest.fixture(scope="module")
def receiver(airflow: AirflowUnderTest) -> Iterator[str]:
    """The URL of a running `rollback_receiver.py` that knows the webhook `deploys`."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
        "WEBHOOK_SECRET": SECRET,
        "AIRFLOW_URL": airflow.url,
        # Where all are administrators, Airflow takes any.
        "AIRFLOW_USER": "rollback",
        "AIRFLOW_PASSWORD": "any",
        "PORT": "0",
        "NO_PROXY": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, str(EXAMPLES / "rollback_receiver.py")]
    log = airflow.home / "rollback_receiver.log"
    process = Process.start("rollback_receiver", command, log=log, env=env)
    try:
        said = airflow.wait_until("the receiver listens", process.output, timeout=30)
        url = f"http://127.0.0.1:{said.split()[-1]}/"
        _add_webhook(airflow, "deploys", url)
        yield url
    finally:
        process.stop()


def test_a_deployment_that_fails_is_rolled_back_once(airflow: AirflowUnderTest, receiver: str) -> None:
    airflow.trigger("deploy", run_id=RUN_ID)
    assert airflow.wait_for_run("deploy", RUN_ID) == "failed"
    airflow.wait_until("a rollback begins", lambda: _rollbacks(airflow), timeout=60)
    (run,) = _rollbacks(airflow)
    assert airflow.wait_for_run("rollback", run["dag_run_id"]) == "success"
    assert run["conf"] == {"dag_id": "deploy", "run_id": RUN_ID}
    assert "rolled back example of deploy" in str(_result(airflow, run["dag_run_id"]))
    # The same event again, as a sender sends it whose answer was lost.
    event_id = run["dag_run_id"].removeprefix("rollback_for_")
    data = {"JobId": "deploy", "Airflow": {"DagId": "deploy", "RunId": RUN_ID}}
    assert _post(receiver, {"Topic": FAILED, "Data": data}, event_id=event_id) == 204
    assert [again["dag_run_id"] for again in _rollbacks(airflow)] == [run["dag_run_id"]]


def _add_webhook(airflow: AirflowUnderTest, conn_id: str, endpoint: str) -> None:
    fields = {"conn_type": "webhook", "host": endpoint, "password": SECRET}
    airflow.add_connection(conn_id, **fields, extra=json.dumps({"allow_http": True}))


def _payloads(heard: RecordingServer, dag_id: str) -> list[dict[str, Any]]:
    payloads = [json.loads(request.body) for request in heard.requests]
    unique = {payload["Id"]: payload for payload in payloads}.values()
    return [payload for payload in unique if payload["Data"]["Airflow"]["DagId"] == dag_id]


def _events(heard: RecordingServer, dag_id: str) -> list[tuple[str, str, int]]:
    return sorted(
        (payload["Data"]["JobId"], payload["Topic"], payload["Data"]["Airflow"]["TryNumber"])
        for payload in _payloads(heard, dag_id)
    )


def _rollbacks(airflow: AirflowUnderTest) -> list[dict[str, Any]]:
    return list(airflow.api("GET", "/dags/rollback/dagRuns").json()["dag_runs"])


def _result(airflow: AirflowUnderTest, run_id: str) -> Any:
    path = f"/dags/rollback/dagRuns/{run_id}/taskInstances/roll_back/xcomEntries/return_value"
    return airflow.api("GET", path).json()["value"]


def _post(url: str, event: dict[str, Any], *, event_id: str) -> int:
    body = json.dumps(event).encode()
    headers = sign(body, [SECRET], message_id=event_id, timestamp=int(time.time()))
    return requests.post(url, body, headers=headers, timeout=30).status_code
