"""The receiver of the rollback example: what it starts, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_webhook_notify.signing import generate_secret, sign
from tests.servers import Answer, RecordingServer

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "example_dags" / "rollback_receiver.py"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT_ID = "5f1b2c7e-2f6d-5a3c-9c07-2f0f2a1b9e44"
TOKEN = Answer(201, body=b'{"access_token": "T0K3N"}')
TAKEN = Answer(200, body=b"{}")
FAILURE = {
    "Topic": "job.execution.failed",
    "Data": {"JobId": "deploy", "Airflow": {"DagId": "deploy", "RunId": "manual__1"}},
}


@pytest.fixture
def airflow() -> Iterator[RecordingServer]:
    """What the receiver takes for Airflow's REST API."""
    with RecordingServer(TOKEN, TAKEN) as server:
        yield server


@pytest.fixture
def receiver(airflow: RecordingServer) -> Iterator[str]:
    """The URL of the running example."""
    env = {
        "WEBHOOK_SECRET": SECRET,
        "AIRFLOW_URL": airflow.url(""),
        "AIRFLOW_USER": "rollback",
        "AIRFLOW_PASSWORD": "pw",
        "PORT": "0",
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM)], env={**os.environ, **env}, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        try:
            yield f"http://127.0.0.1:{process.stderr.readline().split()[-1]}/"
        finally:
            process.terminate()


def post(url: str, event: dict[str, Any], *, secret: str = SECRET, age: int = 0) -> int:
    body = json.dumps(event).encode()
    headers = sign(body, [secret], message_id=EVENT_ID, timestamp=int(time.time()) - age)
    return requests.post(url, body, headers=headers, timeout=30).status_code


def test_a_failed_deployment_starts_a_rollback_named_after_the_event(airflow: RecordingServer, receiver: str) -> None:
    assert post(receiver, FAILURE) == 204
    login, start = airflow.requests
    assert (login.path, json.loads(login.body)) == ("/auth/token", {"username": "rollback", "password": "pw"})
    assert start.path == "/api/v2/dags/rollback/dagRuns"
    assert start.header("Authorization") == "Bearer T0K3N"
    assert json.loads(start.body) == {
        "dag_run_id": f"rollback_for_{EVENT_ID}",
        "logical_date": None,
        "conf": {"dag_id": "deploy", "run_id": "manual__1"},
    }


def test_an_event_that_airflow_has_a_rollback_for_is_taken(airflow: RecordingServer, receiver: str) -> None:
    airflow.answer_with(TOKEN, 409)
    assert post(receiver, FAILURE) == 204


@pytest.mark.parametrize("answers", [(TOKEN, 500), (TOKEN, 403), (401,)])
def test_where_airflow_does_not_take_it_the_event_is_asked_for_again(
    airflow: RecordingServer, receiver: str, answers: tuple[Answer | int, ...]
) -> None:
    airflow.answer_with(*answers)
    assert post(receiver, FAILURE) == 503


def test_a_request_that_is_not_ours_starts_nothing(airflow: RecordingServer, receiver: str) -> None:
    assert post(receiver, FAILURE, secret=generate_secret()) == 401
    assert post(receiver, FAILURE, age=600) == 401
    assert requests.post(receiver, json=FAILURE, timeout=30).status_code == 401
    assert airflow.requests == []


@pytest.mark.parametrize(
    "event",
    [
        {"Topic": "webhook.ping", "Data": {"Id": "deploys"}},
        {**FAILURE, "Topic": "job.execution.succeeded"},
        {**FAILURE, "Data": {**FAILURE["Data"], "JobId": "rollback"}},  # type: ignore[dict-item]
    ],
)
def test_what_is_no_failed_deployment_is_taken_and_starts_nothing(
    airflow: RecordingServer, receiver: str, event: dict[str, Any]
) -> None:
    assert post(receiver, event) == 204
    assert airflow.requests == []
