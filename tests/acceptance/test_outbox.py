"""Nothing is lost: not by an endpoint that is down, a relay that is killed, an Airflow that is restarted."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from airflow_webhook_notify.signing import verify
from tests.acceptance.airflow_under_test import AirflowUnderTest, running
from tests.acceptance.delivery_log import DeliveryLog
from tests.acceptance.webhooks import SECRET, add_webhook, payload_of
from tests.postgres import PostgresServer
from tests.processes import Process, closed_port
from tests.servers import Answer, RecordingServer, Request

DAGS = Path(__file__).parent / "outbox_dags"
STARTED, SUCCEEDED, FAILED = "job.execution.started", "job.execution.succeeded", "job.execution.failed"
#: What one run of the DAG `steps` tells of.
STEPS = (
    ("steps", FAILED),
    ("steps.fails", FAILED),
    ("steps.fails", STARTED),
    ("steps.holds", STARTED),
    ("steps.holds", SUCCEEDED),
)
OPTIONS = {
    # Soon again, and for longer than any endpoint here is out of order.
    "webhook_notify.retry_schedule": ",".join(["1"] * 100),
    # What a relay held that was killed is free again after so many seconds.
    "webhook_notify.lease": "5",
}
OWN_TABLES = ("attempt", "delivery", "webhook", "watch", "subscription")
MIGRATE = "run `airflow db migrate`"
on_both = pytest.mark.parametrize("alone", ["sqlite", "postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("alone", ["sqlite"], indirect=True)


class Alone:
    """An Airflow that a test may do anything to, with one webhook, `ops`, whose endpoint is down."""

    def __init__(self, airflow: AirflowUnderTest, down: ExitStack) -> None:
        self.airflow = airflow
        self.port = down.enter_context(closed_port())
        self._down = down

    @contextmanager
    def endpoint(self, *answers: Answer | int) -> Iterator[RecordingServer]:
        """Have the endpoint up for the length of a `with`."""
        self._down.close()
        try:
            with RecordingServer(*answers, port=self.port) as server:
                yield server
        finally:
            self._down.enter_context(closed_port(self.port))

    def trigger(self, dag_id: str, run_id: str, *, held: bool = False) -> DeliveryLog:
        """Start a run, and return what the delivery log has of it."""
        if not held:
            self.go_on(run_id)
        self.airflow.trigger(dag_id, run_id=run_id)
        return DeliveryLog(self.airflow, "ops", dag_id, run_id)

    def run_steps(self, run_id: str) -> DeliveryLog:
        """Return what the delivery log has of a run of the DAG `steps` that has ended."""
        log = self.trigger("steps", run_id)
        assert self.airflow.wait_for_run("steps", run_id) == "failed"
        return log

    def go_on(self, run_id: str) -> None:
        """Let a run go on that is held up."""
        (self.airflow.home / f"{run_id}.go").touch()

    def wait_until_held(self, run_id: str) -> None:
        """Return once a callback of the run waits."""
        held = self.airflow.home / f"{run_id}.held"
        self.airflow.wait_until(f"a callback of {run_id} waits", held.exists, timeout=60)

    def drop_own_tables(self) -> None:
        """Make the database what it was before this package was installed."""
        engine = create_engine(self.airflow.database_url, poolclass=NullPool)
        ours = [name for name in inspect(engine).get_table_names() if "webhook_notify" in name]
        with engine.begin() as connection:
            # In this order, none goes before one that refers to it.
            for name in sorted(ours):
                connection.execute(text(f"DROP TABLE {name}"))


@pytest.fixture(scope="module")
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """A running Airflow on one of the databases."""
    home, database = tmp_path_factory.mktemp("alone"), None
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        database = server.create_database("airflow_alone")
    with ExitStack() as down, running(AirflowUnderTest(home, DAGS, database=database, options=OPTIONS)) as airflow:
        made = Alone(airflow, down)
        add_webhook(airflow, "ops", f"http://127.0.0.1:{made.port}/hook", timeout=2)
        yield made


def told(requests: Sequence[Request], run_id: str) -> list[tuple[str, str]]:
    """Return what the requests about a run tell of, sorted, each verified and no two of them about one event."""
    events = {}
    for request in requests:
        event_id = verify(request.body, request.headers, [SECRET], require_timestamp=True).id
        payload = payload_of(request)
        if payload["Data"]["Airflow"]["RunId"] == run_id:
            assert event_id not in events
            events[event_id] = (str(payload["Data"]["JobId"]), str(payload["Topic"]))
    return sorted(events.values())


@on_both
def test_every_event_arrives_once_although_the_relay_is_killed_and_airflow_restarted(alone: Alone) -> None:
    airflow, run_id = alone.airflow, "outage"
    log = alone.trigger("steps", run_id, held=True)
    log.wait_for(1, state="pending", attempts=1)
    airflow.kill_component("api-server")
    airflow.restart_api_server()
    alone.go_on(run_id)
    assert airflow.wait_for_run("steps", run_id) == "failed"
    waiting = log.wait_for(len(STEPS), state="pending", attempts=1)
    airflow.stop()
    airflow.start_components()
    with alone.endpoint() as endpoint:
        delivered = log.wait_for(len(STEPS), state="delivered")
        assert told(endpoint.requests, run_id) == sorted(STEPS)
    assert {one.event_id for one in delivered} == {one.event_id for one in waiting}


@on_sqlite
def test_an_endpoint_that_is_gone_pauses_its_webhook_until_someone_resumes_it(alone: Alone) -> None:
    run_id = "gone"
    with alone.endpoint(410) as endpoint:
        log = alone.run_steps(run_id)
        log.wait_for(len(STEPS), state="pending")
        listed = alone.airflow.cli("webhooks", "deliveries", "--webhook", "ops", "--run", run_id, "--output", "json")
        rows = json.loads(listed.stdout)
        assert [(row["state"], row["webhook_paused"]) for row in rows] == [("pending", True)] * len(STEPS)
        # What was on its way when the first answer came may have been sent too.
        refused = len(endpoint.requests)
        assert refused < len(STEPS)
        endpoint.answer_with(200)
        alone.airflow.cli("webhooks", "resume", "ops")
        log.wait_for(len(STEPS), state="delivered")
        assert told(endpoint.requests[refused:], run_id) == sorted(STEPS)
    assert "`airflow webhooks resume ops`" in (alone.airflow.home / "api-server.log").read_text()


@on_sqlite
def test_what_comes_while_a_webhook_is_paused_waits_until_it_is_resumed(alone: Alone) -> None:
    run_id = "paused"
    with alone.endpoint() as endpoint:
        alone.airflow.cli("webhooks", "pause", "ops", "--reason", "maintenance")
        waiting = alone.run_steps(run_id).wait_for(len(STEPS), state="pending")
        assert {one.attempts_count for one in waiting} == {0}
        assert endpoint.requests == []
        alone.airflow.cli("webhooks", "resume", "ops")
        DeliveryLog(alone.airflow, "ops", "steps", run_id).wait_for(len(STEPS), state="delivered")
        assert told(endpoint.requests, run_id) == sorted(STEPS)


@on_sqlite
def test_a_run_that_ends_while_the_api_server_is_away_is_told_of_directly(alone: Alone) -> None:
    airflow, run_id = alone.airflow, "away"
    with alone.endpoint() as endpoint:
        alone.trigger("held_run", run_id, held=True)
        alone.wait_until_held(run_id)
        airflow.kill_component("api-server")
        alone.go_on(run_id)
        assert told(endpoint.wait_for(1, timeout=30), run_id) == [("held_run", SUCCEEDED)]
    said = f"since the intake at {airflow.url} can't be reached"
    airflow.wait_until("the log says so", lambda: said in airflow.dag_file_logs(), timeout=30)


@on_sqlite
def test_a_relay_of_its_own_sends_what_api_servers_leave_to_it(alone: Alone) -> None:
    airflow, run_id = alone.airflow, "external"
    airflow.restart_api_server(options={"webhook_notify.relay": "external"})
    with alone.endpoint() as endpoint:
        log = alone.run_steps(run_id)
        waiting = log.wait_for(len(STEPS), state="pending")
        assert {one.attempts_count for one in waiting} == {0}
        relay = start_relay(airflow)
        try:
            log.wait_for(len(STEPS), state="delivered")
            assert told(endpoint.requests, run_id) == sorted(STEPS)
            relay.popen.send_signal(signal.SIGTERM)
            assert relay.popen.wait(30) == 0
        finally:
            relay.stop()
    assert "The relay has stopped" in relay.output()


def start_relay(airflow: AirflowUnderTest) -> Process:
    """Start a relay as a process of its own."""
    command = [sys.executable, "-m", "airflow", "webhooks", "relay"]
    return Process.start("relay", command, log=airflow.home / "relay.log", env=airflow.env)


@on_sqlite
def test_without_its_tables_all_is_delivered_directly_until_airflow_db_migrate_makes_them(alone: Alone) -> None:
    airflow = alone.airflow
    # First its relay ends, which would miss the tables too and say so.
    airflow.stop_component("api-server")
    alone.drop_own_tables()
    airflow.restart_api_server()
    with alone.endpoint() as endpoint:
        alone.run_steps("unmigrated")
        endpoint.wait_for(len(STEPS))
        assert told(endpoint.requests, "unmigrated") == sorted(STEPS)
        lines = airflow.task_log("steps", "unmigrated", "fails").splitlines()
        assert Counter(MIGRATE in line and "was delivered directly" in line for line in lines)[True] == 2

        airflow.cli("db", "migrate")
        airflow.cli("db", "check-migrations", "--migration-wait-timeout", "1")
        alone.run_steps("migrated").wait_for(len(STEPS), state="delivered")
        assert told(endpoint.requests, "migrated") == sorted(STEPS)
    said = (airflow.home / "api-server.log").read_text()
    assert [MIGRATE in line for line in said.splitlines() if "The relay waits: " in line] == [True]
    assert said.count("The relay goes on") == 1
