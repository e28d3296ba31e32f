"""What operators read in the relay's log, and its metrics."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow._shared.observability.metrics import stats
from airflow._shared.observability.metrics.base_stats_logger import NoStatsLogger

from airflow_webhook_notify.exceptions import OutboxUnavailableError
from airflow_webhook_notify.models import Attempt, Delivery, Event
from airflow_webhook_notify.outbox.records import Backlog, Claim, Recorded, Result
from airflow_webhook_notify.relay_report import Report, about, outcome
from airflow_webhook_notify.retry import Disposition

DATA = {"Airflow": {"DagId": "etl", "RunId": "manual__1", "TaskId": "load"}}
EVENT = Event("event-1", "job.execution.failed", 0, "org", "JobExecution", DATA)
DELIVERY = Delivery.of(EVENT, "ops")
WHICH = f"delivery {DELIVERY.id} (job.execution.failed, DAG etl, run manual__1, task load)"


def make_result(
    status: int | None, *, disposition: Disposition | None = None, number: int = 1, manual: bool = False
) -> Result:
    claim = Claim(DELIVERY, number, number, "token", 60_000, 0, created_at=1000, manual=manual)
    succeeded = status is not None and 200 <= status < 300
    error = None if succeeded else f"answered {status}" if status else "refused the connection"
    attempt = Attempt("attempt", DELIVERY.id, number, 0, 0.1, status=status, error=error)
    return Result(claim, attempt, disposition or Disposition(delivered=succeeded, due_at=None if succeeded else 5))


@dataclass
class Backend:
    """Takes what Airflow's metrics send, in place of StatsD."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    gauges: dict[tuple[str, str], float] = field(default_factory=dict)
    timings: list[tuple[str, float]] = field(default_factory=list)

    def incr(self, stat: str, count: int = 1, *, tags: dict[str, str]) -> None:
        assert tags["webhook"] == "ops"
        self.counts[stat, tags.get("outcome", "")] += count

    def gauge(self, stat: str, value: float, *, tags: dict[str, str]) -> None:
        self.gauges[stat, tags["webhook"]] = value

    def timing(self, stat: str, dt: float, *, tags: dict[str, str]) -> None:
        assert tags == {"webhook": "ops"}
        self.timings.append((stat, dt))


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    _initialize(lambda: made)
    yield made
    _initialize(NoStatsLogger)


def _initialize(factory: Any) -> None:
    stats.initialize(factory=factory, export_legacy_names=False)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[..., list[tuple[str, str]]]:
    """Tell a report of results, and return level and text of what it logged."""
    caplog.set_level(logging.INFO)
    report = Report(lambda _: "https://hooks.example.com")

    def tell(*results: Result, recorded: Recorded | None = None) -> list[tuple[str, str]]:
        caplog.clear()
        report.recorded(results, recorded or Recorded(), now=3500)
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    return tell


Told = Callable[..., list[tuple[str, str]]]


def test_what_is_delivered_needs_no_line(told: Told) -> None:
    assert told(make_result(200), make_result(204)) == []


def test_a_webhook_that_fails_is_told_once_and_so_is_that_it_works_again(told: Told) -> None:
    first = told(make_result(500), make_result(502))
    assert told(make_result(None)) == []
    again = told(make_result(200), make_result(200))

    assert first == [
        (
            "WARNING",
            (
                f"Webhook ops (https://hooks.example.com) fails: {WHICH}, attempt 1: answered 500. It is tried again "
                "by the schedule; `airflow webhooks deliveries` shows what waits"
            ),
        )
    ]
    assert again == [("INFO", f"Webhook ops (https://hooks.example.com) works again: {WHICH}")]


def test_a_dead_letter_is_told_with_how_to_send_it_again(told: Told) -> None:
    assert told(make_result(500, disposition=Disposition(), number=10)) == [
        (
            "WARNING",
            (
                f"Webhook ops (https://hooks.example.com): {WHICH} is a dead letter after 10 attempts; the last one: "
                f"answered 500. Once the endpoint works, `airflow webhooks redeliver {DELIVERY.id}` sends it again"
            ),
        )
    ]


def test_a_pause_is_told_with_its_reason_and_how_to_end_it(told: Told) -> None:
    assert told(recorded=Recorded(paused=(("ops", "the endpoint answered 410 Gone"),))) == [
        (
            "WARNING",
            (
                "Webhook ops (https://hooks.example.com) is paused: the endpoint answered 410 Gone. Its deliveries "
                "wait; mend the endpoint or the Connection, then `airflow webhooks resume ops`"
            ),
        )
    ]


def test_a_refused_result_is_told_and_not_counted(told: Told, backend: Backend) -> None:
    ((level, text),) = told(make_result(200), recorded=Recorded(refused=frozenset({DELIVERY.id})))

    assert level == "INFO"
    assert text.startswith(f"The result of attempt 1 of {WHICH} was refused: its lease had ended")
    assert backend == Backend()


def test_attempts_deliveries_and_dead_letters_are_counted(told: Told, backend: Backend) -> None:
    results = [make_result(status) for status in (200, 204, 500, 302, None)]
    told(*results, make_result(404, disposition=Disposition()))

    assert backend.counts == {
        ("webhook_notify.attempts", "2xx"): 2,
        ("webhook_notify.attempts", "5xx"): 1,
        ("webhook_notify.attempts", "3xx"): 1,
        ("webhook_notify.attempts", "4xx"): 1,
        ("webhook_notify.attempts", "no_answer"): 1,
        ("webhook_notify.delivered", ""): 2,
        ("webhook_notify.dead_letters", ""): 1,
    }


def test_latency_is_from_the_outbox_to_the_endpoint_and_leaves_redeliveries_out(told: Told, backend: Backend) -> None:
    told(make_result(200), make_result(200, manual=True))

    assert backend.timings == [("webhook_notify.delivery_latency", 2500)]


def test_the_age_of_what_waits_is_measured_and_falls_to_nothing(backend: Backend) -> None:
    report, name = Report(lambda _: ""), "webhook_notify.pending_age"
    report.backlog([Backlog("ops", oldest_due_at=1000), Backlog("later", oldest_due_at=9000)], now=3500)
    before = dict(backend.gauges)
    report.backlog([], now=3500)

    assert before == {(name, "ops"): 2.5, (name, "later"): 0.0}
    assert backend.gauges == {(name, "ops"): 0.0, (name, "later"): 0.0}


def test_a_metrics_server_that_is_away_is_no_concern_of_a_delivery(told: Told) -> None:
    def fail() -> Backend:
        raise OSError("no route to StatsD")

    _initialize(fail)
    try:
        assert told(make_result(200)) == []
    finally:
        _initialize(NoStatsLogger)


def test_an_outage_of_the_database_is_told_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report, error = Report(lambda _: ""), OutboxUnavailableError("the outbox can't be used: locked")
    report.available()
    for unwritten in (3, 4):
        report.unavailable(error, unwritten=unwritten)
    report.available()
    report.available()

    assert [record.getMessage() for record in caplog.records] == [
        (
            "The relay waits: the outbox can't be used: locked. Deliveries stay in the outbox, 3 results wait to be "
            "written down; it goes on by itself once the database is back"
        ),
        "The relay goes on: the outbox can be used again",
    ]


@pytest.mark.parametrize("data", [{}, {"Airflow": None}, {"Airflow": "etl"}, {"Airflow": {"DagId": None}}])
def test_an_event_without_a_dag_is_named_by_its_topic(data: dict[str, object]) -> None:
    assert about(Event("e", "webhook.ping", 0, "org", "webhook", data)) == "webhook.ping"


@pytest.mark.parametrize(
    ("status", "kind"), [(200, "2xx"), (301, "3xx"), (429, "4xx"), (599, "5xx"), (None, "no_answer")]
)
def test_outcomes_are_named_by_the_status(status: int | None, kind: str) -> None:
    assert outcome(make_result(status).attempt) == kind
