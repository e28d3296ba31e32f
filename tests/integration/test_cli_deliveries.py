"""The commands that read the delivery log, on a real metadata database."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from airflow.models.connection import Connection
from airflow.utils.session import create_session
from sqlalchemy import delete

from airflow_webhook_notify.models import derived_id
from airflow_webhook_notify.outbox.store import Outbox
from tests.integration.cli import Run, make_run
from tests.integration.deliveries import (
    attempt_all,
    claim,
    clear_outbox,
    enqueue,
    hide_outbox,
    make_dead_letters,
    make_event,
)
from tests.servers import Answer, RecordingServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AUTHORIZATION = "Bearer the-authorization-value"
PATH = "/services/the-path-of-the-endpoint"
API_KEY = "the-api-key-in-a-header"
CREDENTIALS = (SECRET, AUTHORIZATION, PATH.strip("/"), API_KEY)
#: 2023-11-14T22:13:20Z
T0 = 1_700_000_000_000
ANSWERED_500 = "answered 500 Internal Server Error"


@pytest.fixture(autouse=True)
def _database(airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "127.0.0.0/8")
    clear_outbox()
    yield
    monkeypatch.undo()
    clear_outbox()
    with create_session(scoped=False) as session:
        session.execute(delete(Connection).where(Connection.conn_type == "webhook"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return make_run(capsys, monkeypatch)


def listed(run: Run, *options: str) -> list[str]:
    """Return the ids that `deliveries` lists."""
    ended = run("deliveries", *options, "-o", "json")
    assert ended.code == 0, ended.err
    return [row["id"] for row in ended.rows]


# --- deliveries -----------------------------------------------------------------------------------------------


def test_programs_get_all_that_is_known_of_a_delivery(run: Run) -> None:
    event = make_event(TaskId="load", MapIndex=3, TryNumber=2)
    delivery_id = enqueue(event, now=T0)
    attempt_all(T0 + 1000, 500, error=ANSWERED_500)
    assert run("deliveries", "-o", "json").row == {
        "id": delivery_id,
        "webhook": "ops",
        "webhook_paused": False,
        "topic": "job.execution.failed",
        "event_id": event.id,
        "dag_id": "etl",
        "run_id": "run_1",
        "task_id": "load",
        "map_index": 3,
        "try_number": 2,
        "state": "pending",
        "event_at": "2023-11-14T22:13:20.123Z",
        "created_at": "2023-11-14T22:13:20.000Z",
        "due_at": "2023-11-14T22:14:21.000Z",
        "delivered_at": None,
        "leased_until": None,
        "manual": False,
        "attempts_count": 1,
        "last_status": 500,
        "last_error": ANSWERED_500,
    }


def test_people_get_a_table_with_ids_that_can_be_copied(run: Run) -> None:
    delivery_id = enqueue(make_event(TaskId="load", MapIndex=3), now=T0)
    attempt_all(T0 + 1000, 500, error=ANSWERED_500)
    plain = run("deliveries", "-o", "plain").out.splitlines()
    assert plain[0].split() == [
        "taken", "id", "webhook", "topic", "job", "state", "attempts", "last", "next_attempt"
    ]  # fmt: skip
    assert " ".join(plain[1].split()) == (
        f"2023-11-14 22:13:20 UTC {delivery_id} ops job.execution.failed etl.load[3] pending 1 500 "
        "2023-11-14 22:14:21 UTC"
    )
    assert delivery_id in run("deliveries").out


def test_an_id_is_never_broken_however_narrow_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery_id = enqueue(make_event(), now=T0)
    monkeypatch.setattr("airflow.cli.simple_table.is_tty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert delivery_id in run("deliveries").out


def test_an_attempt_without_an_answer_shows_its_error_shortened(run: Run) -> None:
    enqueue(make_event(), now=T0)
    attempt_all(T0, None, error="the name " + "x" * 100 + " does not resolve")
    assert "the name " + "x" * 30 + "… " in run("deliveries", "-o", "plain").out


def test_what_waits_for_a_paused_webhook_is_said_to(run: Run) -> None:
    enqueue(make_event(), now=T0)
    Outbox().pause("ops", "410", now=T0)
    assert "once resumed" in run("deliveries", "-o", "plain").out
    assert run("deliveries", "-o", "json").row["webhook_paused"] is True


def test_newest_first_page_by_page_with_the_next_command_on_standard_error(run: Run) -> None:
    ids = [enqueue(make_event(number), now=T0 + number) for number in range(5)]
    enqueue(make_event(9), now=T0, webhook_id="other")
    seen, command = [], ["deliveries", "--webhook", "ops", "--since=2020-01-01", "--limit", "2", "-o", "json"]
    while command:
        page = run(*command)
        seen.append([row["id"] for row in page.rows])
        command = shlex.split(page.err.partition("airflow webhooks ")[2])
    assert seen == [ids[4:2:-1], ids[2:0:-1], ids[:1]]
    assert page.err == ""


def test_a_page_that_is_full_by_chance_is_the_last(run: Run) -> None:
    enqueue(make_event(), now=T0)
    assert run("deliveries", "--limit", "1").err == ""


def test_each_filter_finds_its_own(run: Run) -> None:
    now = time.time_ns() // 1_000_000
    old, new = T0, now - 3_600_000
    failed = enqueue(make_event(1), now=old)
    started = enqueue(make_event(2, topic="job.execution.started"), now=new)
    other = enqueue(make_event(3, DagId="report", RunId="run_2"), now=new, webhook_id="other")
    assert listed(run, "--webhook", "other") == [other]
    assert listed(run, "--topic", "job.execution.started") == [started]
    assert listed(run, "--dag", "report") == [other]
    assert listed(run, "--run", "run_2") == [other]
    assert set(listed(run, "--since", "2h")) == {started, other}
    assert set(listed(run, "--since", "2h", "--until", "30m")) == {started, other}
    assert listed(run, "--until", "2h") == [failed]
    assert listed(run, "--since", "2023-11-14", "--until", "2023-11-15T00:00:00Z") == [failed]
    assert listed(run, "--state", "delivered") == []
    attempt_all(now, 200)
    assert set(listed(run, "--state", "delivered")) == {failed, started, other}


def test_an_empty_log_says_so(run: Run) -> None:
    ended = run("deliveries")
    assert (ended.code, ended.out, ended.err) == (0, "No data found\n", "")
    assert run("deliveries", "-o", "json").rows == []


@pytest.mark.parametrize("cursor", ["yesterday", "1:", ":a", "-1:a", "1 OR 1=1:a"])
def test_a_cursor_of_ones_own_is_one_line(run: Run, cursor: str) -> None:
    ended = run("deliveries", f"--cursor={cursor}")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: --cursor: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--state", "failed"],
        ["--topic", "job.failed"],
        ["--since", "yesterday"],
        ["--until", "9999999d"],
        ["--limit", "0"],
        ["--limit", "1001"],
        ["--dag", "caf\udce9"],
        ["--webhook", ""],
    ],
)
def test_a_filter_that_is_none_is_a_usage_error(run: Run, options: list[str]) -> None:
    assert run("deliveries", *options).code == 2


# --- delivery -------------------------------------------------------------------------------------------------


def test_a_delivery_is_shown_with_its_payload_and_every_attempt(run: Run) -> None:
    event = make_event(TaskId="load", Message="Größe\n\x1b[2J")
    delivery_id = enqueue(event, now=T0)
    attempt_all(T0 + 1000, 500, error=ANSWERED_500, response="try again")
    attempt_all(T0 + 100_000, 200, response="thanks")
    shown = run("delivery", delivery_id, "-o", "json").row
    assert (shown["state"], shown["delivered_at"]) == ("delivered", "2023-11-14T22:15:00.000Z")
    assert shown["payload"]["Data"] == event.data
    assert shown["payload"]["Metadata"]["Delivery"]["Id"] == delivery_id
    assert shown["payload"]["Metadata"]["Attempt"]["Id"] == derived_id(delivery_id, 2)
    assert shown["attempts"] == [
        {
            "number": 1,
            "id": derived_id(delivery_id, 1),
            "started_at": "2023-11-14T22:13:21.000Z",
            "duration": 0.25,
            "status": 500,
            "error": ANSWERED_500,
            "retry_after": None,
            "response": "try again",
        },
        {
            "number": 2,
            "id": derived_id(delivery_id, 2),
            "started_at": "2023-11-14T22:15:00.000Z",
            "duration": 0.25,
            "status": 200,
            "error": None,
            "retry_after": None,
            "response": "thanks",
        },
    ]
    assert yaml.safe_load(run("delivery", delivery_id, "-o", "yaml").out) == [shown]


def test_a_person_reads_the_fields_the_payload_and_the_attempts(run: Run) -> None:
    delivery_id = enqueue(make_event(TaskId="load", TryNumber=2), now=T0)
    attempt_all(T0 + 1000, 500, error=ANSWERED_500, response="x" * 300)
    lines = [" ".join(line.split()) for line in run("delivery", delivery_id, "-o", "plain").out.splitlines()]
    assert f"id {delivery_id}" in lines
    assert "job etl.load" in lines
    assert "next_attempt 2023-11-14 22:14:21 UTC" in lines
    assert '"DagId": "etl",' in lines
    assert lines[-1] == f"1 2023-11-14 22:13:21 UTC 0.250 s 500 {ANSWERED_500} {'x' * 199}…"


@pytest.mark.parametrize("output", ["table", "plain"])
def test_what_others_wrote_is_nothing_that_a_terminal_acts_on(run: Run, output: str) -> None:
    delivery_id = enqueue(make_event(Message="\x1b[2J\u202egpj"), now=T0)
    attempt_all(T0, 500, error="\x1b]0;title\x07", response="\x1b[31mred\r\n[bold]\u202e")
    for command in (["delivery", delivery_id], ["deliveries"]):
        shown = run(*command, "-o", output)
        assert shown.code == 0
        assert not {"\x1b", "\r", "\x07", "\u202e"} & set(shown.out + shown.err)
    assert "[bold]" in run("delivery", delivery_id, "-o", output).out


def test_a_delivery_that_was_not_tried_says_so(run: Run) -> None:
    delivery_id = enqueue(make_event(), now=T0)
    assert "No attempt was made yet." in run("delivery", delivery_id).out
    assert run("delivery", delivery_id, "-o", "json").row["attempts"] == []


def test_a_delivery_that_a_relay_holds_says_so(run: Run) -> None:
    now = time.time_ns() // 1_000_000
    delivery_id = enqueue(make_event(), now=now)
    claim(now)
    assert "under way; a relay holds it until 20" in run("delivery", delivery_id, "-o", "plain").out


def test_a_delivery_of_a_paused_webhook_says_why_it_waits(run: Run) -> None:
    delivery_id = enqueue(make_event(), now=T0)
    Outbox().pause("ops", "the endpoint answered 410 Gone", now=T0)
    shown = run("delivery", delivery_id, "-o", "plain").out
    assert "once the webhook is resumed; it is paused: the endpoint answered 410 Gone" in shown


def test_a_dead_letter_has_no_next_attempt(run: Run) -> None:
    (delivery_id,) = make_dead_letters(1, now=T0)
    shown = run("delivery", delivery_id, "-o", "json").row
    assert (shown["state"], shown["due_at"], shown["attempts_count"]) == ("dead_letter", None, 2)


@pytest.mark.parametrize("delivery_id", [derived_id("none"), "1", "", "caf\udce9", "x\n; DROP TABLE x"])
def test_an_unknown_delivery_is_one_line_and_status_1(run: Run, delivery_id: str) -> None:
    ended = run("delivery", delivery_id)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: There is no delivery '")
    assert ended.err.count("\n") == 1


def test_a_time_that_no_calendar_has_is_shown_as_it_is(run: Run) -> None:
    event = make_event()
    far = type(event)(event.id, event.topic, 2**60, event.organization_id, event.resource, event.data)
    delivery_id = enqueue(far, now=T0)
    assert f"{2**60} ms" in run("delivery", delivery_id).out
    assert run("delivery", delivery_id, "-o", "json").row["event_at"] is None


# --- what all have in common ----------------------------------------------------------------------------------

LOG_COMMANDS = (
    ["deliveries"],
    ["delivery", derived_id("none")],
    ["redeliver", derived_id("none")],
    ["redeliver", "--dead-letters", "--since", "1d", "--yes"],
    ["resume", "ops"],
    ["clean", "--yes"],
    ["relay"],
)


@pytest.mark.parametrize("command", LOG_COMMANDS)
def test_without_an_outbox_each_names_the_command_that_makes_it(
    run: Run, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_outbox(monkeypatch, tmp_path)
    ended = run(*command)
    assert ended.code == 1
    assert ended.err == "Error: the outbox's tables are missing or too old; run `airflow db migrate`\n"


@pytest.mark.parametrize("output", ["table", "json", "plain"])
def test_no_credential_that_an_endpoint_sends_back_is_shown(run: Run, output: str) -> None:
    echo = f"you sent {AUTHORIZATION}, {API_KEY} and {SECRET} to {PATH}"
    with RecordingServer(Answer(500, body=echo.encode())) as receiver:
        run(
            *("add", "ops", "--endpoint", receiver.url(PATH), "--allow-http", "--authorization", AUTHORIZATION),
            *("--secret", SECRET, "--header", f"X-Api-Key: {API_KEY}"),
        )
        assert run("ping", "ops").code == 1
    (delivery_id,) = listed(run)
    words = ""
    for command in (["deliveries"], ["delivery", delivery_id], ["redeliver", delivery_id], ["show", "ops"]):
        ended = run(*command, "-o", output, "--verbose")
        words += ended.out + ended.err
    assert "you sent ***" in words
    assert [credential for credential in CREDENTIALS if credential in words] == []


def test_a_ping_is_in_the_log_with_no_more_of_its_url_than_the_origin(run: Run) -> None:
    with RecordingServer(Answer(200, body=b"pong")) as receiver:
        run("add", "ops", "--endpoint", receiver.url(PATH), "--allow-http")
        event_id = run("ping", "ops", "-o", "json").row["event_id"]
        (delivery_id,) = listed(run, "--topic", "webhook.ping", "--state", "delivered")
        shown = run("delivery", delivery_id, "-o", "json").row
        assert shown["payload"]["Data"]["Url"] == receiver.url("")
    assert shown["event_id"] == event_id
    assert [(each["status"], each["response"]) for each in shown["attempts"]] == [(200, "pong")]


def test_a_ping_that_failed_is_in_the_log_and_not_tried_again(run: Run) -> None:
    with RecordingServer(503) as receiver:
        run("add", "ops", "--endpoint", receiver.url(PATH), "--allow-http")
        assert run("ping", "ops").code == 1
    row = run("deliveries", "-o", "json").row
    assert (row["state"], row["last_status"], row["due_at"]) == ("cancelled", 503, None)


def test_without_an_outbox_a_ping_works_and_says_that_it_is_not_logged(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_outbox(monkeypatch, tmp_path)
    with RecordingServer() as receiver:
        run("add", "ops", "--endpoint", receiver.url(PATH), "--allow-http")
        pinged = run("ping", "ops", "-o", "json")
    assert (pinged.code, pinged.row["status"]) == (0, 200)
    assert pinged.err == (
        "The ping is not in the delivery log: the outbox's tables are missing or too old; run `airflow db migrate`\n"
    )
