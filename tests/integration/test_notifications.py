"""Callbacks, called as Airflow calls them, against a real HTTP server.

Invariant: nothing that a callback meets makes it raise, and no credential reaches the log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference, task  # type: ignore[attr-defined]

from airflow_webhook_notify import WebhookNotifier, dag_callbacks, hooks, notifications, task_callbacks, topics
from airflow_webhook_notify.budget import Budget
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.handover import HandOver
from airflow_webhook_notify.payloads import event_from_json
from airflow_webhook_notify.schema import payload_schema
from tests import contexts
from tests.servers import Answer, RecordingServer
from tests.verifiers import verify_with_standardwebhooks
from tests.webhooks import PATH, QUERY, SECRET, assert_no_credentials, define, validate_payload


@pytest.fixture(autouse=True)
def _fresh_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "PROCESS_BUDGET", Budget())
    monkeypatch.setattr(hooks, "_hand_over", HandOver())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingServer]:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "127.0.0.0/8")
    with RecordingServer() as server:
        define(monkeypatch, "ops", server.url(f"{PATH}?{QUERY}"))
        yield server


TAKEN = Answer(202, (("Content-Type", "application/json"),), b'{"Id": "d-1", "Created": true}')


@pytest.fixture
def load() -> BashOperator:
    with DAG("etl", schedule=None):
        return BashOperator(task_id="load", bash_command="true")


def payloads(server: RecordingServer) -> list[dict[str, Any]]:
    """What arrived, verified by another's library and against the schema."""
    found = []
    for request in server.requests:
        verify_with_standardwebhooks(request.body, request.header_map, SECRET)
        payload = json.loads(request.body)
        validate_payload(payload, payload_schema())
        found.append(payload)
    return found


def topics_of(server: RecordingServer) -> list[str]:
    return [payload["Topic"] for payload in payloads(server)]


class Log:
    """What was logged, through structlog as through `logging`, in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self._capfd, self._caplog = capfd, caplog
        caplog.set_level(logging.DEBUG)

    def whole(self) -> str:
        """All of it, as text."""
        captured = self._capfd.readouterr()
        return captured.out + captured.err + self._caplog.text

    def warnings(self) -> list[str]:
        """The text of our lines from warnings upwards."""
        return re.findall(r"\[(?:warning|error) *\] (.*) \[airflow_webhook_notify", self.whole())


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Log:
    return Log(capfd, caplog)


def test_the_callbacks_of_a_task_report_its_start_and_its_end(server: RecordingServer, load: BashOperator) -> None:
    callbacks = task_callbacks("ops", retries=True, skips=True)
    assert sorted(callbacks) == [
        "on_execute_callback",
        "on_failure_callback",
        "on_retry_callback",
        "on_skipped_callback",
        "on_success_callback",
    ]
    callbacks["on_execute_callback"](contexts.task_context(load, state="running", ended=False))
    callbacks["on_retry_callback"](contexts.task_context(load, state="up_for_retry", max_tries=1))
    callbacks["on_success_callback"](contexts.task_context(load, state="success", try_number=2))
    callbacks["on_skipped_callback"](contexts.task_context(load, state="skipped"))
    callbacks["on_failure_callback"](contexts.task_context(load, state="failed", exception=ValueError("x")))
    assert topics_of(server) == [
        topics.STARTED,
        topics.FAILED,
        topics.SUCCEEDED,
        topics.SUCCEEDED,
        topics.FAILED,
    ]


def test_the_callbacks_of_a_dag_report_the_end_of_its_runs(server: RecordingServer, load: BashOperator) -> None:
    callbacks = dag_callbacks("ops")
    dag = load.dag
    callbacks["on_success_callback"](contexts.dag_context(dag, reason="success"))
    callbacks["on_failure_callback"](contexts.dag_context(dag, reason="task_failure"))
    assert topics_of(server) == [topics.SUCCEEDED, topics.FAILED]
    assert {payload["Data"]["JobId"] for payload in payloads(server)} == {"etl"}


def test_only_the_callbacks_of_the_topics_are_attached() -> None:
    assert sorted(task_callbacks("ops", topics=[topics.FAILED])) == ["on_failure_callback"]
    assert sorted(dag_callbacks("ops", topics=[topics.STARTED])) == []


def test_a_topic_that_the_webhook_does_not_hear_of_is_not_sent(
    server: RecordingServer, load: BashOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(monkeypatch, "ops", server.url(PATH), topics=[topics.FAILED])
    WebhookNotifier("ops")(contexts.task_context(load, state="success"))
    WebhookNotifier("ops")(contexts.task_context(load, state="failed"))
    assert topics_of(server) == [topics.FAILED]


def test_a_topic_that_the_notifier_does_not_name_is_not_sent(server: RecordingServer, load: BashOperator) -> None:
    notifier = WebhookNotifier("ops", topics=[topics.STARTED])
    notifier(contexts.task_context(load, state="success"))
    notifier(contexts.task_context(load, state="running"))
    assert topics_of(server) == [topics.STARTED]


def test_data_is_rendered_anew_for_each_call(server: RecordingServer, load: BashOperator) -> None:
    notifier = WebhookNotifier("ops", data={"run": "{{ run_id }}", "deep": [{"try": "{{ ti.try_number }}"}], "n": 1})
    for number in (1, 2):
        context = contexts.task_context(load, state="failed", try_number=number)
        before = dict(context)
        notifier(context)
        assert context == before
    run_id = "scheduled__2026-01-02T00:00:00+00:00"
    assert [payload["Data"]["Custom"] for payload in payloads(server)] == [
        {"run": run_id, "deep": [{"try": "1"}], "n": 1},
        {"run": run_id, "deep": [{"try": "2"}], "n": 1},
    ]


def test_a_template_that_fails_costs_only_the_data(server: RecordingServer, load: BashOperator, log: Log) -> None:
    WebhookNotifier("ops", data={"x": "{{ 1 / 0 }}"})(contexts.task_context(load, state="failed"))
    [payload] = payloads(server)
    assert payload["Data"]["Custom"] == {"(left out)": "the template of data raised ZeroDivisionError"}
    assert log.warnings()[:-1] == [
        "webhook ops: `data` is left out of the event: its template raised ZeroDivisionError"
    ]


def test_data_that_json_does_not_know_costs_only_its_place(
    server: RecordingServer, load: BashOperator, log: Log
) -> None:
    data = {"raw": b"x", "nan": float("nan"), "big": "x" * 10 * 2**20}
    WebhookNotifier("ops", data=data)(contexts.task_context(load, state="failed"))
    [payload] = payloads(server)
    assert payload["Data"]["Truncated"] is True
    assert payload["Data"]["Custom"]["raw"] == "(left out: has the type bytes, which JSON has no form for)"
    assert [line.partition(": data.")[2] for line in log.warnings()[:-1]] == [
        "raw is left out: it has the type bytes, which JSON has no form for",
        "nan is left out: it is nan",
        "big is cut after 4096 bytes",
    ]


def test_what_airflow_masks_in_logs_is_masked_in_payloads(server: RecordingServer, load: BashOperator) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret("hunter2-hunter2")
    load.bash_command = "login hunter2-hunter2"
    error = ValueError("no login for hunter2-hunter2")
    notifier = WebhookNotifier(
        "ops", data={"note": "hunter2-hunter2", "api_key": "anything", "n": [["hunter2-hunter2"]]}
    )
    notifier(contexts.task_context(load, state="failed", exception=error))
    [payload] = payloads(server)
    assert payload["Data"]["Target"]["Command"] == "login ***"
    assert payload["Data"]["LastAttempt"]["Message"] == "ValueError: no login for ***"
    assert payload["Data"]["Custom"] == {"note": "***", "api_key": "***", "n": [["***"]]}


def test_the_webhooks_own_credentials_are_masked_in_payloads(server: RecordingServer, load: BashOperator) -> None:
    load.bash_command = f"curl -H 'Authorization: Bearer Au7h0r1zat10nT0ken' {server.url(f'{PATH}?{QUERY}')} {SECRET}"
    WebhookNotifier("ops")(contexts.task_context(load, state="failed", exception=ValueError(load.bash_command)))
    [payload] = payloads(server)
    assert_no_credentials(json.dumps(payload))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(500, body=f"you sent {SECRET} to {PATH}".encode()), "in 3 attempts: answered 500"),
        (Answer(302, (("Location", f"https://evil.example{PATH}"),)), "in 3 attempts: answered 302"),
        (Answer(410), "in 1 attempt: answered 410"),
    ],
)
def test_an_endpoint_that_fails_leaves_one_line_without_credentials(
    server: RecordingServer,
    load: BashOperator,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    says: str,
) -> None:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__DIRECT_DEADLINE", "3")
    server.answer_with(answer)
    WebhookNotifier("ops")(contexts.task_context(load, state="failed"))
    text = log.whole()
    assert_no_credentials(text)
    [line] = [line for line in text.splitlines() if "webhook ops:" in line]
    assert "webhook ops: job.execution.failed " in line
    assert says in line


@pytest.mark.parametrize(
    ("connection", "says"),
    [
        (None, "Connection 'ops': does not exist"),
        ({"conn_type": "http", "host": "x"}, "Connection 'ops': has the type 'http'"),
        ({"conn_type": "webhook", "host": f"https://hooks.example.com{PATH}"}, "Signing secret: is empty"),
        (
            {"conn_type": "webhook", "host": f"ftp://hooks.example.com{PATH}", "password": SECRET},
            "Endpoint URL: is not",
        ),
        (
            {"conn_type": "webhook", "host": f"https://u:{SECRET}@hooks.example.com{PATH}", "password": SECRET},
            "Endpoint URL: has a user name or password in it",
        ),
    ],
)
def test_a_connection_that_can_not_be_used_leaves_one_line(
    load: BashOperator,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    connection: dict[str, Any] | None,
    says: str,
) -> None:
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_OPS", json.dumps(connection))
    WebhookNotifier("ops")(contexts.task_context(load, state="failed"))
    [line] = log.warnings()
    assert line.startswith(f"webhook ops: {says}")
    assert_no_credentials(line)


def test_a_name_that_does_not_resolve_leaves_one_line(
    load: BashOperator, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_args: object, **_kwargs: object) -> Sequence[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__DIRECT_DEADLINE", "0.4")
    define(monkeypatch, "ops", f"https://hooks.example.invalid{PATH}")
    WebhookNotifier("ops")(contexts.task_context(load, state="failed"))
    [line] = log.warnings()
    assert "hooks.example.invalid" in line
    assert "does not resolve" in line
    assert_no_credentials(line)


def test_what_nobody_thought_of_leaves_one_line_and_does_not_raise(
    server: RecordingServer,
    load: BashOperator,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_down() -> str:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("airflow_webhook_notify.config.organization_id", break_down)
    WebhookNotifier("ops")(contexts.task_context(load, state="failed"))
    [line] = log.warnings()
    assert line.startswith("webhook ops: no event was sent: unexpected RuntimeError at ")
    assert_no_credentials(line)


def test_all_callbacks_of_a_process_share_one_budget(
    server: RecordingServer,
    load: BashOperator,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is imported once, and the intake that is not there, must not take from the second that is measured.
    WebhookNotifier("ops")(contexts.task_context(load, state="success"))
    log.warnings()
    monkeypatch.setattr(notifications, "PROCESS_BUDGET", Budget(seconds=1.0))
    server.answer_with(Answer(200, delay=60))
    for number in range(1, 5):
        WebhookNotifier("ops")(contexts.task_context(load, state="failed", try_number=number))
    # The first used it up; the others knew that without asking anyone.
    assert len(server.requests) == 2
    warnings = log.warnings()
    assert len(warnings) == 4
    assert warnings[3] == (
        "webhook ops: job.execution.failed was not sent: the webhooks of this process have used their 1 s"
    )


def test_an_event_is_handed_over_to_the_intake_and_its_endpoint_is_not_asked(
    server: RecordingServer, load: BashOperator, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordingServer(TAKEN) as intake:
        monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__INTAKE_URL", intake.url(""))
        WebhookNotifier("ops", data={"run": "{{ run_id }}"})(contexts.task_context(load, state="failed"))
        [handed] = intake.requests
    verify_with_standardwebhooks(handed.body, handed.header_map, SECRET)
    event = event_from_json(handed.body)
    assert (handed.path, event.topic) == ("/webhook-notify/v1/webhooks/ops/events", topics.FAILED)
    assert event.data["Custom"] == {"run": "scheduled__2026-01-02T00:00:00+00:00"}
    assert server.requests == []
    assert f"webhook ops: job.execution.failed {event.id} is delivery d-1" in log.whole()


def test_an_event_is_handed_over_though_the_budget_is_spent(
    server: RecordingServer, load: BashOperator, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "PROCESS_BUDGET", Budget(seconds=0.0))
    with RecordingServer(TAKEN) as intake:
        monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__INTAKE_URL", intake.url(""))
        WebhookNotifier("ops")(contexts.task_context(load, state="failed"))
        assert len(intake.requests) == 1
    assert log.warnings() == []


def test_an_intake_that_fails_is_said_in_the_line_of_the_direct_delivery(
    server: RecordingServer, load: BashOperator, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordingServer(503) as intake:
        monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__INTAKE_URL", intake.url(""))
        WebhookNotifier("ops")(contexts.task_context(load, state="failed"))
        [line] = log.warnings()
    assert topics_of(server) == [topics.FAILED]
    assert line.endswith(
        f" was delivered directly to {server.url('')}, since the intake at {intake.url('')} answered 503"
    )


def test_with_the_budget_spent_and_no_intake_nothing_is_tried(
    server: RecordingServer, load: BashOperator, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "PROCESS_BUDGET", Budget(seconds=0.0))
    for number in (1, 2):
        WebhookNotifier("ops")(contexts.task_context(load, state="failed", try_number=number))
    first, second = log.warnings()
    assert (
        "was not sent: the intake at http://127.0.0.1:1 can't be reached (ConnectionRefusedError), "
        "and the webhooks of" in first
    )
    assert second == "webhook ops: job.execution.failed was not sent: the webhooks of this process have used their 0 s"
    assert server.requests == []


def test_it_stands_in_a_list_beside_other_callbacks_and_as_an_argument_of_a_decorator(server: RecordingServer) -> None:
    seen: list[str] = []

    @task(
        on_failure_callback=[
            lambda _context: seen.append("before"),
            WebhookNotifier("ops"),
            lambda _context: seen.append("after"),
        ]
    )
    def work() -> None:
        """Do nothing."""

    with DAG("etl", schedule=None):
        operator: Any = work().operator  # type: ignore[attr-defined]
    for callback in operator.on_failure_callback:
        callback(contexts.task_context(operator, state="failed"))
    assert seen == ["before", "after"]
    assert topics_of(server) == [topics.FAILED]


def test_default_args_reach_mapped_tasks(server: RecordingServer) -> None:
    with DAG("etl", schedule=None, default_args=task_callbacks("ops")) as dag:
        BashOperator.partial(task_id="each").expand(bash_command=["true", "false"])
    each: Any = dag.get_task("each")
    [callback] = each.on_failure_callback
    callback(contexts.task_context(each, state="failed", map_index=1))
    [payload] = payloads(server)
    assert (payload["Data"]["JobId"], payload["Data"]["Airflow"]["MapIndex"]) == ("etl.each", 1)


OVERDUE_RUN = {
    "dag_id": "etl",
    "dag_run_id": "manual__1",
    "run_type": "manual",
    "state": "running",
    "start_date": "2026-01-02T03:04:05Z",
}


def test_a_deadline_alert_sends_that_the_job_is_overdue(server: RecordingServer) -> None:
    alert = DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=5),
        callback=AsyncCallback(
            WebhookNotifier,
            kwargs={"webhook_conn_id": "ops", "data": {"dag": "{{ dag_run.dag_id }}", "run": "{{ run_id }}"}},
        ),
    )
    assert alert.callback.path == "airflow_webhook_notify.notifications.WebhookNotifier"
    context = {"dag_run": OVERDUE_RUN, "deadline": {"id": "d1", "deadline_time": "2026-01-02T04:00:00Z"}}

    async def as_the_triggerer_does() -> None:
        await WebhookNotifier(**alert.callback.kwargs, context=context)

    asyncio.run(as_the_triggerer_does())
    [payload] = payloads(server)
    assert (payload["Topic"], payload["Data"]["JobId"]) == (topics.OVERDUE, "etl")
    assert payload["Data"]["Custom"] == {"dag": "etl", "run": "manual__1"}


def test_a_deadline_alert_of_a_webhook_that_is_not_there_does_not_raise(log: Log) -> None:
    context = {"dag_run": OVERDUE_RUN, "deadline": {"id": "d1"}}

    async def as_the_triggerer_does() -> None:
        await WebhookNotifier("nowhere", context=context)

    asyncio.run(as_the_triggerer_does())
    [line] = log.warnings()
    assert line == (
        "webhook nowhere: Connection 'nowhere': does not exist; make it with `airflow webhooks add` or in "
        "Admin, Connections"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"topics": ["job.failed"]}, "Topics: there is no topic 'job.failed'"),
        ({"topics": topics.FAILED}, r"topics: must be a list, such as \['job.execution.failed'\]"),
        ({"data": "{{ run_id }}"}, "data: must be a mapping"),
        ({"webhook_conn_id": ""}, "webhook_conn_id: must be the id of a Connection"),
    ],
)
def test_a_mistake_in_a_dag_file_is_said_where_the_file_is_read(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        WebhookNotifier(**arguments)
