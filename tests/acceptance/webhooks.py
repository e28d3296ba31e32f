"""The webhooks of the DAGs in `tests/acceptance/dags`, and what they receive.

Invariant: what is expected is derived from Airflow's own REST API and logs, never from the code under test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.acceptance.airflow_under_test import AirflowUnderTest
from tests.servers import RecordingServer, Request

ORGANIZATION = "acceptance"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#: A part of every endpoint's path: no log may show it.
SECRET_PATH = "path-that-only-the-endpoint-knows"
#: With characters that a URL must quote.
RUN_ID = "first:run+1"
LOGICAL_DATE = "2026-01-02T03:04:05+00:00"
DAG_IDS = ("late", "every_kind", "calm", "choosy")


def make_webhooks(airflow: AirflowUnderTest, receiver: RecordingServer) -> None:
    """Make every webhook that these DAGs name."""
    airflow.cli(
        *("connections", "add", "ops", "--conn-type", "webhook", "--conn-password", SECRET),
        *("--conn-host", receiver.url(f"/ops/{SECRET_PATH}"), "--conn-extra", '{"allow_http": true}'),
    )
    add_webhook(airflow, "ops_failures", receiver.url("/ops_failures"), topics=["job.execution.failed"])


def add_webhook(airflow: AirflowUnderTest, conn_id: str, endpoint: str, **extra: object) -> None:
    """Make a webhook as the connection page of the UI does."""
    fields = {"conn_type": "webhook", "host": endpoint, "password": SECRET}
    airflow.add_connection(conn_id, **fields, extra=json.dumps({"allow_http": True, **extra}))


def start_runs(airflow: AirflowUnderTest) -> None:
    """Start one run of each DAG."""
    for dag_id in DAG_IDS:
        logical_date = LOGICAL_DATE if dag_id == "every_kind" else None
        airflow.trigger(dag_id, run_id=RUN_ID, logical_date=logical_date)


@dataclass(frozen=True)
class Happening:
    """What tells one event from another."""

    job_id: str
    map_index: int
    try_number: int
    topic: str
    state: str

    @classmethod
    def of(cls, payload: dict[str, Any]) -> Happening:
        """Return what a payload is about."""
        airflow = payload["Data"]["Airflow"]
        job_id, state = payload["Data"]["JobId"], airflow["State"]
        return cls(job_id, airflow["MapIndex"], airflow["TryNumber"], payload["Topic"], state)


@dataclass(frozen=True)
class Times:
    """When a job execution started and ended, in milliseconds since the epoch."""

    started: int | None
    ended: int | None

    @classmethod
    def of(cls, started: str | None, ended: str | None) -> Times:
        """Return them from the REST API's texts."""
        return cls(_milliseconds(started), _milliseconds(ended))


@dataclass(frozen=True)
class Runs:
    """The runs of one session and what the receiver has of them."""

    airflow: AirflowUnderTest
    receiver: RecordingServer

    def requests(self, dag_id: str) -> list[Request]:
        """Return the requests about a DAG or its tasks, in order of arrival."""
        return [request for request in self.receiver.requests if dag_of(payload_of(request)) == dag_id]

    def heard(self, dag_id: str) -> dict[Happening, dict[str, Any]]:
        """Return the payloads about a DAG or its tasks; of several about one event the first."""
        payloads = [payload_of(request) for request in reversed(self.requests(dag_id))]
        return {Happening.of(payload): payload for payload in payloads}

    def wait_for_events(self, dag_id: str, expected: set[Happening]) -> None:
        """Return once all that is expected has arrived."""
        what = f"all events of {dag_id} arrived"
        self.airflow.wait_until(what, lambda: expected <= set(self.heard(dag_id)), timeout=90)

    def tries(self, dag_id: str) -> dict[tuple[str, int, int], Times]:
        """Return the times of every try, by task, map index and try number."""
        times = {}
        for state in self.airflow.task_states(dag_id, RUN_ID):
            for row in self.airflow.tries(dag_id, RUN_ID, state):
                key = (state.task_id, state.map_index, int(row["try_number"]))
                times[key] = Times.of(row["start_date"], row["end_date"])
        return times

    def run_times(self, dag_id: str) -> Times:
        """Return the times of the run."""
        row = self.airflow.run(dag_id, RUN_ID)
        return Times.of(row["start_date"], row["end_date"])


def payload_of(request: Request) -> dict[str, Any]:
    """Return the payload of a request."""
    payload: dict[str, Any] = json.loads(request.body)
    return payload


def dag_of(payload: dict[str, Any]) -> str:
    """Return the id of the DAG that a payload is about; empty for a ping."""
    return str(payload["Data"].get("Airflow", {}).get("DagId", ""))


def _milliseconds(text: str | None) -> int | None:
    return None if text is None else int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
