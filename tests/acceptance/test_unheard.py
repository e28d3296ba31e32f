"""A webhook or an intake that can't be had changes nothing in Airflow, and says so in one line for each event."""

from __future__ import annotations

import json
import socket
import statistics
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from airflow_webhook_notify.signing import verify
from tests.acceptance.airflow_under_test import AirflowUnderTest
from tests.acceptance.delivery_log import DeliveryLog, LoggedAttempt, LoggedDelivery
from tests.acceptance.webhooks import RUN_ID, SECRET, SECRET_PATH, add_webhook, dag_of, payload_of
from tests.processes import closed_port
from tests.servers import RawServer, RecordingServer, Request

#: Callbacks of each DAG's tasks, and of its run.
TASK_LINES, RUN_LINES = {"succeeds": 2, "fails": 4}, 1
EVENTS = sum(TASK_LINES.values()) + RUN_LINES
#: Endpoints that recover later: what an attempt says of them until then.
TROUBLED = {"hangs": "no answer within", "closed": "refused the connection"}
#: Webhooks that can't be used: what a callback says of them.
UNUSABLE = {"not_there": "does not exist", "garbled": "Endpoint URL"}
#: Webhooks of DAGs that can't reach the intake.
WITHOUT_INTAKE = ("answers", "dead")
DAG_IDS = (*(f"no_intake_{name}" for name in WITHOUT_INTAKE), *(f"unheard_{name}" for name in (*TROUBLED, *UNUSABLE)))
NO_INTAKE = "the intake at http://127.0.0.1:1 can't be reached"
#: Of the endpoint that hangs, in seconds.
TIMEOUT = 3


@dataclass(frozen=True)
class Waiting:
    """What the delivery log has while an endpoint is out of order."""

    deliveries: list[LoggedDelivery]
    attempts: list[LoggedAttempt]

    @classmethod
    def of(cls, airflow: AirflowUnderTest, conn_id: str) -> Waiting:
        """Return it once each event was tried."""
        log = DeliveryLog(airflow, conn_id, f"unheard_{conn_id}", RUN_ID)
        return cls(log.wait_for(EVENTS, state="pending", attempts=1), log.attempts())


@dataclass(frozen=True)
class Recovered:
    """What the delivery log and the endpoint have once it answers."""

    deliveries: list[LoggedDelivery]
    requests: list[Request]


@dataclass(frozen=True)
class Unheard:
    """One run of each DAG, all ended; what the troubled endpoints were sent, by webhook."""

    airflow: AirflowUnderTest
    waiting: dict[str, Waiting]
    recovered: dict[str, Recovered]
    direct: list[Request]

    def lines(self, dag_id: str) -> list[str]:
        """Return what we wrote about the tasks and the run of a DAG: one line for each callback."""
        conn_id = webhook_of(dag_id)
        lines = run_lines(self.airflow, dag_id)
        assert len(lines) == RUN_LINES
        for task_id, count in TASK_LINES.items():
            of_task = ours(self.airflow.task_log(dag_id, RUN_ID, task_id), conn_id)
            assert len(of_task) == count, of_task
            lines += of_task
        return lines


def webhook_of(dag_id: str) -> str:
    """Return the webhook that a DAG names."""
    return dag_id.removeprefix("unheard_").removeprefix("no_intake_")


def ours(log: str, conn_id: str) -> list[str]:
    """Return what we wrote about a webhook, of a log of JSON lines."""
    events = [json.loads(line).get("event", "") for line in log.splitlines() if line.startswith("{")]
    return [event for event in events if event.startswith(f"webhook {conn_id}: ")]


def say_nothing(_: socket.socket, stopping: threading.Event) -> None:
    """Take a connection and keep it."""
    stopping.wait()


@pytest.fixture(scope="module")
def unheard(airflow: AirflowUnderTest) -> Iterator[Unheard]:
    """One run of each DAG, all ended; then the endpoints that were out of order recover."""
    with RecordingServer() as receiver, RawServer(say_nothing) as dead:
        add_webhook(airflow, "answers", receiver.url(f"/{SECRET_PATH}"))
        add_webhook(airflow, "dead", dead.url(f"/{SECRET_PATH}"))
        add_webhook(airflow, "garbled", f"http://user:password@/{SECRET_PATH}")
        with RawServer(say_nothing) as silent, closed_port() as closed:
            ports = {"hangs": silent.port, "closed": closed}
            for conn_id, port in ports.items():
                add_webhook(airflow, conn_id, f"http://127.0.0.1:{port}/{SECRET_PATH}", timeout=TIMEOUT)
            # The first callbacks of an Airflow wait for what it loads with them, and that is not the question here.
            run_all(airflow, DAG_IDS[-1:])
            run_all(airflow, DAG_IDS[:-1])
            before = {conn_id: Waiting.of(airflow, conn_id) for conn_id in ports}
        after = {conn_id: recover(airflow, conn_id, port) for conn_id, port in ports.items()}
        receiver.wait_for(EVENTS)
        yield Unheard(airflow, before, after, receiver.requests)


def run_all(airflow: AirflowUnderTest, dag_ids: Sequence[str]) -> None:
    """Return once a run of each DAG has ended and the run's own callback is through."""
    for dag_id in dag_ids:
        airflow.trigger(dag_id, run_id=RUN_ID)
    for dag_id in dag_ids:
        airflow.wait_for_run(dag_id, RUN_ID)
        what = f"the run's own callback of {dag_id} is logged"
        airflow.wait_until(what, partial(run_lines, airflow, dag_id), timeout=60)


def recover(airflow: AirflowUnderTest, conn_id: str, port: int) -> Recovered:
    """Return what an endpoint got once it answers."""
    with RecordingServer(port=port) as server:
        deliveries = DeliveryLog(airflow, conn_id, f"unheard_{conn_id}", RUN_ID).wait_for(EVENTS, state="delivered")
        return Recovered(deliveries, server.requests)


def run_lines(airflow: AirflowUnderTest, dag_id: str) -> list[str]:
    """Return what we wrote about the run of a DAG."""
    return ours(airflow.dag_file_logs(), webhook_of(dag_id))


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_states_and_tries_are_those_of_a_dag_without_webhooks(unheard: Unheard, dag_id: str) -> None:
    assert unheard.airflow.run(dag_id, RUN_ID)["state"] == "failed"
    states = unheard.airflow.task_states(dag_id, RUN_ID)
    assert [(state.task_id, state.state, state.try_number) for state in states] == [
        ("fails", "failed", 2),
        ("succeeds", "success", 1),
    ]


@pytest.mark.parametrize("conn_id", TROUBLED)
def test_each_callback_hands_its_event_over_and_says_so_in_one_line(unheard: Unheard, conn_id: str) -> None:
    assert all(line.count(" is delivery ") == 1 for line in unheard.lines(f"unheard_{conn_id}"))


@pytest.mark.parametrize("conn_id", UNUSABLE)
def test_each_callback_of_a_webhook_that_cannot_be_used_says_why_in_one_line(unheard: Unheard, conn_id: str) -> None:
    assert all(UNUSABLE[conn_id] in line for line in unheard.lines(f"unheard_{conn_id}"))


@pytest.mark.parametrize("conn_id", TROUBLED)
def test_no_callback_waits_for_the_endpoint(unheard: Unheard, conn_id: str) -> None:
    waits = [one.created_at - one.event_at for one in unheard.waiting[conn_id].deliveries if one.task_id]
    assert statistics.median(waits) < TIMEOUT * 1000


@pytest.mark.parametrize("conn_id", TROUBLED)
def test_the_deliveries_wait_with_their_attempts_logged(unheard: Unheard, conn_id: str) -> None:
    waiting = unheard.waiting[conn_id]
    assert Counter(one.task_id or "" for one in waiting.deliveries) == {**TASK_LINES, "": RUN_LINES}
    for delivery in waiting.deliveries:
        logged = [attempt for attempt in waiting.attempts if attempt.event_id == delivery.event_id]
        assert [attempt.number for attempt in logged] == list(range(1, len(logged) + 1))
        assert len(logged) >= delivery.attempts_count >= 1
        assert delivery.due_at is not None
        assert all(TROUBLED[conn_id] in str(attempt.error) for attempt in logged)


@pytest.mark.parametrize("conn_id", TROUBLED)
def test_every_event_arrives_once_when_the_endpoint_recovers(unheard: Unheard, conn_id: str) -> None:
    recovered = unheard.recovered[conn_id]
    assert Counter(str(payload_of(request)["Id"]) for request in recovered.requests) == Counter(
        one.event_id for one in unheard.waiting[conn_id].deliveries
    )
    assert {one.last_status for one in recovered.deliveries} == {200}
    for request in recovered.requests:
        verify(request.body, request.headers, [SECRET], require_timestamp=True)


@pytest.mark.parametrize("conn_id", TROUBLED)
def test_the_relay_says_once_that_an_endpoint_fails_and_once_that_it_works_again(
    unheard: Unheard, conn_id: str
) -> None:
    log = (unheard.airflow.home / "api-server.log").read_text()
    about = [line for line in log.splitlines() if f"Webhook {conn_id} (http://127.0.0.1:" in line]
    assert [("fails: " in line, "works again: " in line) for line in about] == [(True, False), (False, True)]
    assert TROUBLED[conn_id] in about[0]


def test_without_the_intake_each_event_is_delivered_directly_and_one_line_says_so(unheard: Unheard) -> None:
    assert len({payload_of(request)["Id"] for request in unheard.direct}) == len(unheard.direct) == EVENTS
    assert {dag_of(payload_of(request)) for request in unheard.direct} == {"no_intake_answers"}
    assert all(
        NO_INTAKE in line and " was delivered directly to " in line for line in unheard.lines("no_intake_answers")
    )


def test_without_the_intake_and_the_endpoint_each_callback_says_so_in_one_line(unheard: Unheard) -> None:
    lines = unheard.lines("no_intake_dead")
    assert any("no answer within" in line and NO_INTAKE in line for line in lines)
    # What all callbacks of one process may take together is spent by the first of them.
    assert all("no answer within" in line or "have used their 10 s" in line for line in lines), lines


def test_no_log_shows_the_secret_or_the_path(unheard: Unheard) -> None:
    attempts = [str(attempt.error) for waiting in unheard.waiting.values() for attempt in waiting.attempts]
    written = unheard.airflow.all_logs() + "".join(attempts)
    for dag_id in DAG_IDS:
        assert f"webhook {webhook_of(dag_id)}: " in written
    assert SECRET not in written
    assert SECRET.removeprefix("whsec_") not in written
    assert SECRET_PATH not in written
