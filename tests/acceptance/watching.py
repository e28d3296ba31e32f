"""A real Airflow with a run of every watched DAG, and what comes of them: calls of callbacks, and webhooks.

Invariant: of each event a webhook's receiver counts the first request alone, as a receiver does that dedupes by id.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.acceptance.airflow_under_test import AirflowTestError, AirflowUnderTest, running
from tests.acceptance.delivery_log import change_rows, read_rows, wait_until_subscribed
from tests.acceptance.matrix import MATRIX, OR_MORE, ROWS
from tests.acceptance.webhooks import ORGANIZATION, add_webhook, payload_of
from tests.postgres import PostgresServer
from tests.processes import Process
from tests.servers import RecordingServer

DAGS = Path(__file__).parent / "watched_dags"
RUN_ID = "first:run+1"
OPTIONS = {
    "webhook_notify.organization_id": ORGANIZATION,
    # What a relay held that was killed is free again after so many seconds.
    "webhook_notify.lease": "20",
    "scheduler.task_instance_heartbeat_timeout": "20",
    "scheduler.task_instance_heartbeat_timeout_detection_interval": "3",
    "core.parallelism": "16",
    # All callbacks of one DAG file together may take no longer, and Airflow drops those that do.
    "dag_processor.dag_file_processor_timeout": "180",
    # An API server takes a while to start again: no task may give up meanwhile, and no supervisor kill it.
    "workers.max_failed_heartbeats": "1000",
    "workers.execution_api_retries": "200",
    "workers.execution_api_retry_wait_max": "1",
    # So often, and after so many seconds, does 3.3 look again for a DAG whose file is gone.
    "workers.missing_dag_retries": "1",
    "workers.missing_dag_retry_delay": "1",
}
#: Of the scheduler that follows a killed one: nor may it miss the tasks of an API server that is away.
PATIENT = {"scheduler.task_instance_heartbeat_timeout": "600"}
#: The scheduler that was killed, as it looks half a minute later.
_DEAD = "UPDATE job SET latest_heartbeat = latest_heartbeat - INTERVAL '1 hour' WHERE job_type = 'SchedulerJob'"
#: What the attached webhook tells of a call.
_TOPICS = {
    "on_execute": "started",
    "on_success": "succeeded",
    "on_skipped": "succeeded",
    "on_failure": "failed",
    "on_retry": "failed",
}


@dataclass
class Watched:
    """A running Airflow, what its callbacks wrote down, and what its webhooks received.

    :param settled: DAGs of which all has come
    :param replaced: whether the scheduler was killed
    """

    airflow: AirflowUnderTest
    receiver: RecordingServer
    settled: set[str] = field(default_factory=set)
    replaced: bool = False
    _read: int = 0
    _payloads: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = field(default_factory=dict)

    # What has come

    def payloads(self, dag_id: str, *, webhook: str = "watch", run_id: str = RUN_ID) -> dict[str, dict[str, Any]]:
        """Return the payloads about a run of a DAG and its tasks, by event id."""
        requests = self.receiver.requests
        for request in requests[self._read :]:
            payload = payload_of(request)
            told = payload["Data"].get("Airflow", {})
            key = (payload["Metadata"]["Webhook"]["Id"], told.get("DagId", ""), told.get("RunId", ""))
            self._payloads.setdefault(key, {}).setdefault(payload["Id"], payload)
        self._read = len(requests)
        return self._payloads.get((webhook, dag_id, run_id), {})

    def heard(self, dag_id: str, *, webhook: str = "watch", run_id: str = RUN_ID) -> list[str]:
        """Return what the payloads about a run say, in short, sorted."""
        return sorted(short(payload) for payload in self.payloads(dag_id, webhook=webhook, run_id=run_id).values())

    def topics(self, dag_id: str, *, webhook: str) -> list[str]:
        """Return no more of them than job, try and topic."""
        return sorted(named(payload) for payload in self.payloads(dag_id, webhook=webhook).values())

    def calls(self, dag_id: str) -> list[str]:
        """Return the calls of callbacks that a run of a DAG has had, sorted."""
        path = self.airflow.home / "called.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        calls = [json.loads(line) for line in lines]
        return sorted(_call(call) for call in calls if (call["dag"], call["run"]) == (dag_id, RUN_ID))

    # Waiting

    def wait_for(self, dag_id: str, *expected: str, run_id: str = RUN_ID, timeout: float = 120) -> None:
        """Return once the subscribed webhook has heard all this."""
        self._wait(
            f"{dag_id}: {expected} arrived",
            lambda: set(expected) <= set(self.heard(dag_id, run_id=run_id)),
            lambda: self.heard(dag_id, run_id=run_id),
            timeout,
        )

    def check(self, dag_id: str) -> None:
        """Hold a run of a DAG against its row of the matrix: all that is expected comes, and nothing else."""
        row = ROWS[dag_id]
        self.wait_for(dag_id, *row.hears)
        assert self.heard(dag_id) == sorted(row.hears)
        self._wait(
            f"{dag_id}: {row.calls_here} were called",
            lambda: not missing_calls(self.calls(dag_id), row.calls_here),
            lambda: self.calls(dag_id),
            60,
        )
        told = sorted({_topic_of(call) for call in row.calls_here})
        self._wait(
            f"{dag_id}: the attached webhook told of {told}",
            lambda: set(told) <= set(self.topics(dag_id, webhook="calls")),
            lambda: self.topics(dag_id, webhook="calls"),
            60,
        )
        self.settled.add(dag_id)
        self.check_again(dag_id)

    def check_again(self, dag_id: str) -> None:
        """Check that nothing has come since."""
        row = ROWS[dag_id]
        assert self.heard(dag_id) == sorted(row.hears)
        calls = self.calls(dag_id)
        assert not missing_calls(calls, row.calls_here)
        assert not unexpected_calls(calls, row.calls_here)
        assert self.topics(dag_id, webhook="calls") == sorted({_topic_of(call) for call in row.calls_here})

    def wait_for_log(self, dag_id: str, task_id: str, text: str) -> None:
        """Return once a task has written this into its log."""
        what = f"{dag_id}.{task_id} wrote {text}"
        self.airflow.wait_until(what, lambda: text in self.airflow.task_log(dag_id, RUN_ID, task_id), timeout=60)

    def _wait(self, what: str, condition: Any, so_far: Any, timeout: float) -> None:
        try:
            self.airflow.wait_until(what, condition, timeout=timeout)
        except AirflowTestError as error:
            raise AssertionError(f"so far: {so_far()}\n{error}") from None

    # What people and machines do

    def mark(self, dag_id: str, state: str, *, run: bool = False) -> None:
        """Set the state of the run, or of its only task, as the UI does."""
        path = f"/dags/{dag_id}/dagRuns/{quote(RUN_ID, safe='')}"
        if run:
            self.airflow.api("PATCH", path, json={"state": state})
        else:
            self.airflow.api("PATCH", f"{path}/taskInstances/sleeps", json={"new_state": state})

    def clear(self, dag_id: str) -> None:
        """Clear the run, as the UI does."""
        body = {"dry_run": False, "dag_run_id": RUN_ID, "only_failed": False, "reset_dag_runs": True}
        self.airflow.api("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def release(self, dag_id: str) -> None:
        """Let a task go on that is held up."""
        (self.airflow.home / f"{dag_id}.go").touch()

    def trigger(self, dag_id: str) -> None:
        """Start the run of a DAG."""
        self.airflow.trigger(dag_id, run_id=RUN_ID)

    def replace_scheduler(self) -> None:
        """Kill the scheduler with all tasks, and start a patient one, unless that was done."""
        if self.replaced:
            return
        self.airflow.kill_component("scheduler")
        # What Airflow waits half a minute for.
        change_rows(self.airflow, _DEAD)
        self.airflow.start_component("scheduler", options=PATIENT)
        self.replaced = True

    def start_relay(self, name: str) -> Process:
        """Start `airflow webhooks relay`, and return it once it runs."""
        command = [sys.executable, "-m", "airflow", "webhooks", "relay"]
        relay = Process.start(name, command, log=self.airflow.home / f"{name}.log", env=self.airflow.env)
        self.airflow.processes[name] = relay
        self.airflow.wait_until(f"{name} runs", lambda: "The relay runs" in relay.output(), timeout=120)
        return relay

    def lease(self) -> object:
        """Return the token of the watcher that has the lease."""
        (row,) = read_rows(self.airflow, "SELECT lease_token FROM webhook_notify_watch")
        return row["lease_token"]

    def fingerprint(self, webhook: str) -> object:
        """Return that of a webhook's subscription."""
        query = "SELECT fingerprint FROM webhook_notify_subscription WHERE webhook_id = :webhook"
        (row,) = read_rows(self.airflow, query, webhook=webhook)
        return row["fingerprint"]


def missing_calls(calls: Sequence[str], expected: Sequence[str]) -> Counter[str]:
    """Return the calls that are still to come."""
    return Counter(call.removesuffix(OR_MORE) for call in expected) - Counter(calls)


def unexpected_calls(calls: Sequence[str], expected: Sequence[str]) -> Counter[str]:
    """Return the calls that are more than what is expected."""
    again = {call.removesuffix(OR_MORE) for call in expected if call.endswith(OR_MORE)}
    return Counter(call for call in calls if call not in again) - Counter(expected)


def named(payload: dict[str, Any]) -> str:
    """Return job, try and topic of a payload."""
    told = payload["Data"]["Airflow"]
    index = f"[{told['MapIndex']}]" if told["MapIndex"] >= 0 else ""
    number = "" if told["TaskId"] is None else f"#{told['TryNumber']}"
    return f"{payload['Data']['JobId']}{index}{number} {payload['Topic'].rpartition('.')[2]}"


def short(payload: dict[str, Any]) -> str:
    """Return what a payload says, in one line."""
    data = payload["Data"]
    told = data["Airflow"]
    words = [named(payload), told["State"]]
    if data["State"] == "failed":
        words += [told["Cause"], str(data["LastAttempt"]["ExitStatus"])]
        assert data["WillRetry"] is (told["State"] == "up_for_retry")
    if told["TaskId"] is None and data["AttemptsCount"] > 1:
        words.append(f"({data['AttemptsCount']})")
    return " ".join(words)


def _call(call: dict[str, Any]) -> str:
    name = call["callback"].removesuffix("_callback")
    if "task" not in call:
        return f"{call['dag']} {name}"
    index = f"[{call['index']}]" if call["index"] not in (None, -1) else ""
    return f"{call['dag']}.{call['task']}{index}#{call['try']} {name}"


def _topic_of(call: str) -> str:
    job, _, name = call.removesuffix(OR_MORE).rpartition(" ")
    return f"{job} {_TOPICS[name]}"


@contextmanager
def watching(home: Path, postgres: PostgresServer) -> Iterator[Watched]:
    """Run every DAG once, all begun together, on PostgreSQL, for the length of a `with`."""
    dags = home / "dags"
    # One of the files is deleted.
    shutil.copytree(DAGS, dags, ignore=shutil.ignore_patterns("__pycache__"))
    database = postgres.create_database("watched")
    with RecordingServer() as receiver:
        # The triggerer needs the folder on its path.
        environment = {"PYTHONPATH": str(dags)}
        under_test = AirflowUnderTest(
            home, dags, database=database, triggerer=True, options=OPTIONS, environment=environment
        )
        with running(under_test) as airflow:
            watched = Watched(airflow, receiver)
            add_webhook(airflow, "watch", receiver.url("/watch"), dags=["*"], level="both", retries=True)
            add_webhook(airflow, "calls", receiver.url("/calls"))
            add_webhook(airflow, "beats", receiver.url("/beats"), heartbeat=1)
            wait_until_subscribed(airflow, "watch", "beats")
            for dag_id in ("fine", "attached", *(row.dag_id for row in MATRIX if not row.later)):
                watched.trigger(dag_id)
            yield watched
