"""What a subscribed webhook hears of DAGs without callbacks, whatever becomes of their tasks.

Invariant: what is expected is written down here, and nothing else may arrive: each event once, by its id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from airflow_webhook_notify.schema import payload_schema
from airflow_webhook_notify.signing import verify
from tests.acceptance.airflow_under_test import AirflowTestError, AirflowUnderTest, running
from tests.acceptance.webhooks import ORGANIZATION, SECRET, payload_of
from tests.postgres import PostgresServer
from tests.servers import RecordingServer

DAGS = Path(__file__).parent / "watched_dags"
RUN_ID = "first:run+1"
PAYLOADS = Draft202012Validator(payload_schema())
#: DAG → the events of one run of it: job, try, topic, state, and of failures the cause and whether a try follows.
EXPECTED: dict[str, set[str]] = {
    "fine": {
        "fine started running",
        "fine.works#1 started running",
        "fine.works#1 succeeded success",
        "fine.empty#1 succeeded success",
        "fine.skips#1 started running",
        "fine.skips#1 succeeded skipped",
        "fine succeeded success",
    },
    "fails": {
        "fails started running",
        "fails.exits_seven#1 started running",
        "fails.exits_seven#1 failed failed exception 7",
        "fails.later#0 failed upstream_failed upstream_failed 1",
        "fails.raises#1 started running",
        "fails.raises#1 failed failed exception 1",
        "fails.exits#1 started running",
        "fails.exits#1 failed failed exception 7",
        "fails failed failed exception 1",
    },
    "killed": {
        "killed started running",
        "killed.dies#1 started running",
        "killed.dies#1 failed failed killed 1",
        "killed failed failed killed 1",
    },
    "lost": {
        "lost started running",
        "lost.dies_with_supervisor#1 started running",
        "lost.dies_with_supervisor#1 failed failed heartbeat_timeout 1",
        "lost failed failed heartbeat_timeout 1",
    },
    "retried": {
        "retried started running",
        "retried.recovers#1 started running",
        "retried.recovers#1 failed up_for_retry exception 1",
        "retried.recovers#2 started running",
        "retried.recovers#2 succeeded success",
        "retried succeeded success",
    },
    "killed_twice": {
        "killed_twice started running",
        "killed_twice.dies#1 started running",
        "killed_twice.dies#1 failed up_for_retry killed 1",
        "killed_twice.dies#2 started running",
        "killed_twice.dies#2 failed failed killed 1",
        "killed_twice failed failed killed 1",
    },
    "mapped": {
        "mapped started running",
        *(f"mapped.is_mapped[{index}]#1 started running" for index in range(3)),
        "mapped.is_mapped[0]#1 succeeded success",
        "mapped.is_mapped[1]#1 failed failed exception 1",
        "mapped.is_mapped[2]#1 succeeded success",
        "mapped failed failed exception 1",
    },
    "task_timeout": {
        "task_timeout started running",
        "task_timeout.times_out#1 started running",
        "task_timeout.times_out#1 failed failed exception 1",
        "task_timeout failed failed exception 1",
    },
    "run_timeout": {
        "run_timeout started running",
        "run_timeout.sleeps#1 started running",
        "run_timeout.sleeps#1 succeeded skipped",
        "run_timeout failed failed run_timeout 1",
    },
    "deferred": {
        "deferred started running",
        "deferred.defers#1 started running",
        "deferred.defers#1 failed failed exception 1",
        "deferred failed failed exception 1",
    },
    "marked_success": {
        "marked_success started running",
        "marked_success.sleeps#1 started running",
        "marked_success.sleeps#1 succeeded success",
        "marked_success succeeded success",
        # Marked again, after all had ended.
        "marked_success.sleeps#1 failed failed manual 1",
        "marked_success failed failed manual 1",
    },
    "marked_failed": {
        "marked_failed started running",
        "marked_failed.sleeps#1 started running",
        "marked_failed.sleeps#1 failed failed manual 1",
        "marked_failed failed failed manual 1",
    },
    "run_marked": {
        "run_marked started running",
        "run_marked.sleeps#1 started running",
        "run_marked.sleeps#1 failed failed manual 1",
        "run_marked failed failed manual 1",
    },
    "cleared": {
        "cleared started running",
        "cleared.sleeps#1 started running",
        "cleared.sleeps#1 succeeded success",
        "cleared succeeded success",
        "cleared started running (2)",
        "cleared.sleeps#2 started running",
        "cleared.sleeps#2 failed failed manual 1",
        "cleared failed failed manual 1 (2)",
    },
}


@dataclass(frozen=True)
class Watched:
    """A running Airflow and what the webhook `watch` received."""

    airflow: AirflowUnderTest
    receiver: RecordingServer

    def payloads(self, dag_id: str) -> dict[str, dict[str, Any]]:
        """Return the payloads about a DAG and its tasks, by event id."""
        found = {}
        for request in self.receiver.requests:
            payload = payload_of(request)
            if payload["Data"]["Airflow"]["DagId"] == dag_id:
                found[payload["Id"]] = payload
        return found

    def heard(self, dag_id: str) -> list[str]:
        """Return what the payloads about a DAG say, in short."""
        return sorted(short(payload) for payload in self.payloads(dag_id).values())

    def wait_for(self, dag_id: str, *expected: str, timeout: float = 120) -> None:
        """Return once all this has arrived."""
        try:
            self.airflow.wait_until(
                f"{dag_id}: {expected} arrived", lambda: set(expected) <= set(self.heard(dag_id)), timeout=timeout
            )
        except AirflowTestError as error:
            raise AssertionError(f"heard only {self.heard(dag_id)}\n{error}") from None

    def mark(self, dag_id: str, state: str, *, run: bool = False) -> None:
        """Set the state of the run, or of its only task, as the UI does."""
        path = f"/dags/{dag_id}/dagRuns/{RUN_ID.replace(':', '%3A').replace('+', '%2B')}"
        if run:
            self.airflow.api("PATCH", path, json={"state": state})
        else:
            self.airflow.api("PATCH", f"{path}/taskInstances/sleeps", json={"new_state": state})

    def clear(self, dag_id: str) -> None:
        """Clear the run, as the UI does."""
        body = {"dry_run": False, "dag_run_id": RUN_ID, "only_failed": False, "reset_dag_runs": True}
        self.airflow.api("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)


def short(payload: dict[str, Any]) -> str:
    """Return what a payload says, in one line."""
    data = payload["Data"]
    told = data["Airflow"]
    index = f"[{told['MapIndex']}]" if told["MapIndex"] >= 0 else ""
    number = "" if told["TaskId"] is None else f"#{told['TryNumber']}"
    words = [f"{data['JobId']}{index}{number}", payload["Topic"].rpartition(".")[2], told["State"]]
    if data["State"] == "failed":
        words += [told["Cause"], str(data["LastAttempt"]["ExitStatus"])]
        assert data["WillRetry"] is (told["State"] == "up_for_retry")
    if told["TaskId"] is None and data["AttemptsCount"] > 1:
        words.append(f"({data['AttemptsCount']})")
    return " ".join(words)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Watched]:
    """One run of each DAG, all begun together, on PostgreSQL."""
    options = {
        "webhook_notify.organization_id": ORGANIZATION,
        "scheduler.task_instance_heartbeat_timeout": "15",
        "scheduler.task_instance_heartbeat_timeout_detection_interval": "3",
        "core.parallelism": "16",
    }
    home = tmp_path_factory.mktemp("watched")
    database = postgres.create_database("watched")
    with RecordingServer() as receiver:
        under_test = AirflowUnderTest(home, DAGS, database=database, triggerer=True, options=options)
        with running(under_test) as airflow:
            extra = {"allow_http": True, "dags": ["*"], "level": "both", "retries": True}
            airflow.add_connection(
                "watch", conn_type="webhook", host=receiver.url("/watch"), password=SECRET, extra=json.dumps(extra)
            )
            # A webhook hears from the moment that the watcher notices it.
            airflow.wait_until("the watcher subscribes it", lambda: _subscribed(airflow), timeout=30)
            for dag_id in (*EXPECTED, "attached"):
                airflow.trigger(dag_id, run_id=RUN_ID)
            yield Watched(airflow, receiver)


def _subscribed(airflow: AirflowUnderTest) -> bool:
    import psycopg2

    assert airflow.database is not None
    connection = psycopg2.connect(airflow.database.replace("+psycopg2", ""))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM webhook_notify_subscription")
            row = cursor.fetchone()
            return bool(row and row[0])
    finally:
        connection.close()


BY_HAND = ("marked_success", "marked_failed", "run_marked", "cleared")


@pytest.mark.parametrize("dag_id", [name for name in EXPECTED if name not in BY_HAND])
def test_each_event_arrives_once(watched: Watched, dag_id: str) -> None:
    watched.wait_for(dag_id, *EXPECTED[dag_id])
    assert watched.heard(dag_id) == sorted(EXPECTED[dag_id])


def test_a_task_that_is_marked_success_and_later_failed(watched: Watched) -> None:
    watched.wait_for("marked_success", "marked_success.sleeps#1 started running")
    watched.mark("marked_success", "success")
    watched.wait_for("marked_success", "marked_success succeeded success")
    watched.mark("marked_success", "failed")
    watched.mark("marked_success", "failed", run=True)
    watched.wait_for("marked_success", *EXPECTED["marked_success"])
    assert watched.heard("marked_success") == sorted(EXPECTED["marked_success"])


def test_a_task_that_is_marked_failed_while_it_runs(watched: Watched) -> None:
    watched.wait_for("marked_failed", "marked_failed.sleeps#1 started running")
    watched.mark("marked_failed", "failed")
    watched.wait_for("marked_failed", *EXPECTED["marked_failed"])
    assert watched.heard("marked_failed") == sorted(EXPECTED["marked_failed"])


def test_a_run_that_is_marked_failed_while_it_runs(watched: Watched) -> None:
    watched.wait_for("run_marked", "run_marked.sleeps#1 started running")
    watched.mark("run_marked", "failed", run=True)
    watched.wait_for("run_marked", *EXPECTED["run_marked"])
    assert watched.heard("run_marked") == sorted(EXPECTED["run_marked"])


def test_a_run_that_is_cleared_and_runs_again(watched: Watched) -> None:
    watched.wait_for("cleared", "cleared.sleeps#1 started running")
    watched.mark("cleared", "success")
    watched.wait_for("cleared", "cleared succeeded success")
    watched.clear("cleared")
    watched.wait_for("cleared", "cleared.sleeps#2 started running")
    watched.mark("cleared", "failed", run=True)
    watched.wait_for("cleared", *EXPECTED["cleared"])
    assert watched.heard("cleared") == sorted(EXPECTED["cleared"])


ATTACHED = {
    "attached started",
    *(f"attached.{name}#1 started" for name in ("works", "skips", "fails", "dies", "is_mapped[0]", "is_mapped[1]")),
    "attached.works#1 succeeded",
    "attached.skips#1 succeeded",
    "attached.is_mapped[0]#1 succeeded",
    "attached.is_mapped[1]#1 failed",
    "attached.fails#1 failed",
    "attached.fails#2 started",
    "attached.fails#2 failed",
    "attached.dies#1 failed",
    "attached failed",
}


def test_a_webhook_that_is_attached_and_subscribed_hears_of_each_event_once(watched: Watched) -> None:
    watched.airflow.wait_for_run("attached", RUN_ID)
    watched.airflow.wait_until("attached: all arrived", lambda: set(_topics(watched)) >= ATTACHED, timeout=60)
    assert sorted(_topics(watched)) == sorted(ATTACHED)


def _topics(watched: Watched) -> list[str]:
    found = []
    for payload in watched.payloads("attached").values():
        told = payload["Data"]["Airflow"]
        index = f"[{told['MapIndex']}]" if told["MapIndex"] >= 0 else ""
        number = "" if told["TaskId"] is None else f"#{told['TryNumber']}"
        found.append(f"{payload['Data']['JobId']}{index}{number} {payload['Topic'].rpartition('.')[2]}")
    return found


def test_every_payload_is_signed_and_valid(watched: Watched) -> None:
    watched.wait_for("fine", *EXPECTED["fine"])
    for request in list(watched.receiver.requests):
        verify(request.body, request.headers, SECRET, require_timestamp=True)
        PAYLOADS.validate(payload_of(request))
