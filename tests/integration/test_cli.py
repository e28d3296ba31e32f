"""The commands that make, show, ping and change webhooks, with a real metadata database and a real receiver."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.models.log import Log
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from airflow_webhook_notify import connection
from airflow_webhook_notify.models import Level
from airflow_webhook_notify.signing import verify
from tests.integration.cli import Run, make_run
from tests.integration.deliveries import clear_all, clear_outbox, hide_outbox
from tests.servers import RecordingServer, Request

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AUTHORIZATION = "Bearer the-authorization-value"
PATH = "/services/the-path-of-the-endpoint"
API_KEY = "the-api-key-in-a-header"
PROXY_PASSWORD = "the-password-of-the-proxy"
CREDENTIALS = (SECRET, AUTHORIZATION, PATH.strip("/"), API_KEY, PROXY_PASSWORD)


@pytest.fixture(autouse=True)
def _database(airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "127.0.0.0/8")
    clear_outbox()
    yield
    monkeypatch.undo()
    clear_all()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return make_run(capsys, monkeypatch)


@pytest.fixture
def receiver() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


def stored(conn_id: str) -> Connection:
    with create_session(scoped=False) as session:
        found: Connection | None = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
        assert found is not None
        return found


def is_signed_with(request: Request, secret: str) -> bool:
    return verify(request.body, request.headers, secret, require_timestamp=True).id == request.header("webhook-id")


# --- add ------------------------------------------------------------------------------------------------------


def test_add_makes_a_connection_and_shows_its_secret_once(run: Run) -> None:
    added = run("add", "ops", "--endpoint", f"https://example.org{PATH}")
    assert (added.code, added.err) == (0, "")
    secret = stored("ops").password
    assert secret is not None
    assert secret.startswith("whsec_")
    assert added.out.count(secret) == 1
    assert "Made the webhook 'ops' for https://example.org." in added.out
    assert "airflow webhooks ping ops" in added.out
    assert 'with DAG(..., **dag_callbacks("ops")):' in added.out.replace("'", '"')
    assert stored("ops").is_encrypted


@pytest.mark.parametrize("output", ["json", "yaml", "plain"])
def test_add_gives_programs_the_secret_as_a_field(run: Run, output: str) -> None:
    added = run("add", "ops", "--endpoint", "https://example.org/a", "--output", output)
    assert added.code == 0
    assert added.out.count(str(stored("ops").password)) == 1
    if output == "json":
        assert added.row == {
            "conn_id": "ops",
            "endpoint": "https://example.org",
            "topics": ["job.execution.started", "job.execution.succeeded", "job.execution.failed"],
            "secret": stored("ops").password,
        }


def test_add_stores_every_option(run: Run) -> None:
    added = run(
        *("add", "ops", "--endpoint", f"http://example.org{PATH}", "--allow-http", "--authorization", AUTHORIZATION),
        *("--topic", "job.execution.failed", "--topic", "job.execution.started", "--nickname", "Operations"),
        *("--dag", "etl_*", "--dag", "!etl_test", "--tag", "prod", "--level", "both", "--secret", SECRET),
        *("--header", f"X-Api-Key: {API_KEY}", "--timeout", "7.5", "--ca-bundle", "/etc/ca.pem"),
        *("--proxy", f"http://user:{PROXY_PASSWORD}@proxy.example.org:3128"),
        *("--retries", "--roll-up", "60", "--rate", "30", "--heartbeat", "5"),
    )
    assert (added.code, added.err) == (0, "")
    webhook = connection.get_webhook("ops")
    assert webhook.endpoint == f"http://example.org{PATH}"
    assert webhook.secrets_at(0) == (SECRET,)
    assert webhook.authorization == AUTHORIZATION
    assert webhook.topics == ("job.execution.failed", "job.execution.started")
    assert (webhook.dags, webhook.tags, webhook.level) == (("etl_*", "!etl_test"), ("prod",), Level.BOTH)
    assert webhook.headers == (("X-Api-Key", API_KEY),)
    assert (webhook.timeout, webhook.ca_bundle, webhook.nickname) == (7.5, "/etc/ca.pem", "Operations")
    assert webhook.proxy == f"http://user:{PROXY_PASSWORD}@proxy.example.org:3128"
    assert (webhook.retries, webhook.roll_up, webhook.rate, webhook.heartbeat) == (True, 60.0, 30.0, 5.0)
    shown = run("show", "ops", "-o", "json").row
    assert [shown[name] for name in ("level", "retries", "roll_up", "rate", "heartbeat")] == ["both", True, 60, 30, 5]


def test_add_of_a_subscription_says_who_tells_of_it(run: Run) -> None:
    added = run("add", "ops", "--endpoint", "https://example.org/", "--dag", "etl_*")
    assert "airflow webhooks subscriptions DAG_ID" in added.out
    assert "dag_callbacks" not in added.out


def test_a_secret_of_ones_own_is_not_repeated(run: Run) -> None:
    added = run("add", "ops", "--endpoint", "https://example.org/", "--secret", SECRET, "-o", "json")
    assert added.row["secret"] is None
    assert SECRET not in added.out + added.err


def test_credentials_may_come_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{AUTHORIZATION}\n{SECRET}\n"))
    added = run("add", "ops", "--endpoint", "https://example.org/", "--authorization", "-", "--secret", "-")
    assert (added.code, added.err) == (0, "")
    webhook = connection.get_webhook("ops")
    assert (webhook.authorization, webhook.secrets_at(0)) == (AUTHORIZATION, (SECRET,))


def test_an_id_is_taken_once(run: Run) -> None:
    assert run("add", "ops", "--endpoint", "https://example.org/").code == 0
    before = stored("ops").password
    again = run("add", "ops", "--endpoint", "https://example.org/")
    assert (again.code, again.out) == (1, "")
    assert again.err == "Error: Connection id: 'ops' is taken; choose another, or delete that one\n"
    assert stored("ops").password == before


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--endpoint", f"ftp://example.org{PATH}"], "Endpoint URL"),
        (["--endpoint", f"http://example.org{PATH}"], "Endpoint URL"),
        (["--endpoint", f"https://user:{API_KEY}@example.org{PATH}"], "Endpoint URL"),
        (["--endpoint", "https://example.org/", "--topic", "job.failed"], "Topics"),
        (["--endpoint", "https://example.org/", "--secret", "short"], "Signing secret"),
        (["--endpoint", "https://example.org/", "--header", API_KEY], "--header"),
        (["--endpoint", "https://example.org/", "--header", f"Authorization: {API_KEY}"], "Extra headers"),
        (["--endpoint", "https://example.org/", "--timeout", "0"], "Timeout"),
        (["--endpoint", "https://example.org/", "--roll-up", "0"], "Roll up failures"),
        (["--endpoint", "https://example.org/", "--rate", "-1"], "Rate limit"),
        (["--endpoint", "https://example.org/", "--heartbeat", "0.5"], "Heartbeat"),
    ],
)
def test_a_bad_field_is_named_in_one_line_and_nothing_is_stored(run: Run, options: list[str], field: str) -> None:
    added = run("add", "ops", *options)
    assert (added.code, added.out) == (1, "")
    assert added.err.startswith(f"Error: {field}: ")
    assert added.err.count("\n") == 1
    assert not any(credential in added.err for credential in CREDENTIALS)
    assert run("list", "-o", "json").rows == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "ops"],
        ["add", "ops", "--endpoint", "https://example.org/", "--level", "job"],
        ["add", "ops", "--endpoint", "https://example.org/", "--timeout", "soon"],
        ["add", "ops", "--endpoint", "https://example.org/", "--rate", "nan"],
        ["rotate-secret", "ops", "--overlap", "1 day"],
        ["listen", "--status", "ok"],
        ["listen", "--port", "65536"],
        ["show"],
    ],
)
def test_a_usage_error_is_status_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).code == 2


# --- list and show --------------------------------------------------------------------------------------------


def test_list_shows_each_webhook_and_what_is_wrong_with_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add", "ops", "--endpoint", f"https://example.org{PATH}", "--dag", "etl_*", "--nickname", "Operations")
    with create_session(scoped=False) as session:
        session.add(Connection(conn_id="broken", conn_type="webhook", host=f"example.org{PATH}", password=SECRET))
        session.add(Connection(conn_id="other", conn_type="http", host="example.org"))
    monkeypatch.setenv(
        "AIRFLOW_CONN_IN_ENV", f'{{"conn_type": "webhook", "host": "https://e.org", "password": "{SECRET}"}}'
    )
    listed = run("list", "-o", "json")
    assert [row["conn_id"] for row in listed.rows] == ["broken", "in_env", "ops"]
    broken, in_env, ops = listed.rows
    assert broken["state"].startswith("Endpoint URL: ")
    assert (in_env["source"], in_env["state"]) == ("environment", "ok")
    assert ops == {
        "conn_id": "ops",
        "nickname": "Operations",
        "endpoint": "https://example.org",
        "topics": ["job.execution.started", "job.execution.succeeded", "job.execution.failed"],
        "dags": ["etl_*"],
        "tags": [],
        "source": "database",
        "state": "ok",
    }


def test_show_says_what_is_set_and_not_what_it_is(run: Run) -> None:
    run(
        *("add", "ops", "--endpoint", f"https://example.org{PATH}", "--authorization", AUTHORIZATION),
        *("--header", f"X-Api-Key: {API_KEY}", "--proxy", f"http://user:{PROXY_PASSWORD}@proxy:3128"),
    )
    shown = run("show", "ops", "-o", "json").row
    assert shown["endpoint"] == "https://example.org"
    assert (shown["authorization"], shown["proxy"], shown["headers"]) == ("set", "set", ["X-Api-Key"])
    assert (shown["secrets"], shown["old_secret_until"], shown["encrypted"]) == (1, None, True)
    assert (shown["timeout"], shown["verify"], shown["state"]) == (15.0, True, "ok")


def test_show_lists_the_fields_below_each_other_for_people(run: Run) -> None:
    run("add", "ops", "--endpoint", "https://example.org/")
    lines = run("show", "ops", "-o", "plain").out.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["field", "value"],
        ["conn_id", "ops"],
        ["nickname", "ops"],
        ["endpoint", "https://example.org"],
    ]


def test_show_of_a_broken_webhook_says_what_to_mend(run: Run) -> None:
    with create_session(scoped=False) as session:
        session.add(Connection(conn_id="broken", conn_type="webhook", host="https://example.org/"))
    shown = run("show", "broken", "-o", "json")
    assert shown.code == 0
    assert shown.row["state"].startswith("Signing secret: ")


@pytest.mark.parametrize("command", [["list"], ["show", "ops"]])
def test_webhooks_are_shown_without_an_outbox_too(
    run: Run, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("add", "ops", "--endpoint", "https://example.org/")
    hide_outbox(monkeypatch, tmp_path)
    shown = run(*command, "-o", "json")
    assert (shown.code, shown.row["state"], shown.row.get("pending")) == (0, "ok", None)
    assert shown.err == (
        "Which webhooks are paused or failing is not known: the outbox's tables are missing or too old; "
        "run `airflow db migrate`\n"
    )


@pytest.mark.parametrize("command", ["show", "ping", "rotate-secret"])
def test_an_unknown_webhook_is_one_line_and_status_1(run: Run, command: str) -> None:
    ended = run(command, "nobody")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: Connection 'nobody': ")
    assert ended.err.count("\n") == 1


# --- ping -----------------------------------------------------------------------------------------------------


def test_a_ping_that_is_taken_is_status_0(run: Run, receiver: RecordingServer) -> None:
    run("add", "ops", "--endpoint", receiver.url(PATH), "--allow-http", "--secret", SECRET)
    pinged = run("ping", "ops", "-o", "json")
    assert (pinged.code, pinged.err) == (0, "")
    (request,) = receiver.requests
    assert is_signed_with(request, SECRET)
    row = pinged.row
    assert (row["topic"], row["status"], row["error"]) == ("webhook.ping", 200, None)
    assert row["event_id"] == request.header("webhook-id")
    assert 0 <= row["duration"] < 15


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (301, "put the final URL into the Endpoint URL"),
        (401, "check the webhook's Authorization header"),
        (404, "check the path of the Endpoint URL"),
        (410, "the receiver no longer wants these events"),
        (422, "the receiver refuses the request"),
        (503, "see the receiver's own log"),
    ],
)
def test_a_ping_that_is_not_taken_says_why_and_what_to_do(run: Run, status: int, advice: str) -> None:
    with RecordingServer(status) as receiver:
        run("add", "ops", "--endpoint", receiver.url(PATH), "--allow-http")
        pinged = run("ping", "ops", "-o", "json")
    assert pinged.code == 1
    assert pinged.row["status"] == status
    assert pinged.err.startswith("Error: The ping failed: ")
    assert str(status) in pinged.err
    assert advice in pinged.err


def test_a_ping_to_a_refused_address_names_the_option(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "")
    with RecordingServer() as receiver:
        run("add", "ops", "--endpoint", receiver.url(PATH), "--allow-http")
        pinged = run("ping", "ops", "-o", "json")
        assert receiver.requests == []
    assert (pinged.code, pinged.row["status"]) == (1, None)
    assert "127.0.0.1 is a loopback address" in pinged.err
    assert "[webhook_notify] allowed_networks" in pinged.err


# --- rotate-secret --------------------------------------------------------------------------------------------


def test_rotation_shows_the_new_secret_once_and_both_sign(run: Run, receiver: RecordingServer) -> None:
    run("add", "ops", "--endpoint", receiver.url(PATH), "--allow-http", "--secret", SECRET)
    before = time.time()
    rotated = run("rotate-secret", "ops", "--overlap", "1h")
    assert (rotated.code, rotated.err) == (0, "")
    new = str(stored("ops").password)
    assert new != SECRET
    assert rotated.out.count(new) == 1
    assert SECRET not in rotated.out
    assert run("ping", "ops").code == 0
    (request,) = receiver.requests
    assert is_signed_with(request, SECRET)
    assert is_signed_with(request, new)
    shown = run("show", "ops", "-o", "json").row
    assert shown["secrets"] == 2
    assert shown["old_secret_until"] in rotated.out
    (old,) = connection.get_webhook("ops").secrets[1:]
    assert old.expires_at is not None
    assert before + 3600 - 1 <= old.expires_at / 1000 <= time.time() + 3600


def test_rotation_without_overlap_ends_the_old_secret(run: Run) -> None:
    run("add", "ops", "--endpoint", "https://example.org/", "--secret", SECRET)
    rotated = run("rotate-secret", "ops", "--overlap", "0s", "-o", "json").row
    assert rotated == {"conn_id": "ops", "secret": stored("ops").password, "old_secret_until": None}
    assert connection.get_webhook("ops").secrets_at(0) == (stored("ops").password,)


def test_a_new_secret_of_ones_own_is_not_repeated(run: Run) -> None:
    run("add", "ops", "--endpoint", "https://example.org/")
    rotated = run("rotate-secret", "ops", "--secret", SECRET)
    assert (rotated.code, stored("ops").password) == (0, SECRET)
    assert SECRET not in rotated.out + rotated.err


def test_a_webhook_of_the_environment_is_rotated_where_it_is_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_IN_ENV", f'{{"conn_type": "webhook", "host": "https://e.org", "password": "{SECRET}"}}'
    )
    rotated = run("rotate-secret", "in_env")
    assert (rotated.code, rotated.out) == (1, "")
    assert (
        "comes from the environment variable AIRFLOW_CONN_IN_ENV; change it there, and restart Airflow" in rotated.err
    )


# --- what all have in common ----------------------------------------------------------------------------------


def test_the_audit_log_tells_who_changed_what_without_credentials(run: Run) -> None:
    run(
        *("add", "ops", f"--endpoint=https://example.org{PATH}", f"--authorization={AUTHORIZATION}"),
        # An abbreviation that argparse understands, and a flag that Airflow's own masking does not know.
        *("--sec", SECRET, "--header", f"X-Api-Key: {API_KEY}", "--topic", "job.execution.failed"),
    )
    run("rotate-secret", "ops", "--secret", SECRET)
    with create_session(scoped=False) as session:
        rows = [(row.event, str(row.extra)) for row in session.scalars(select(Log).order_by(Log.id))]
    assert [event for event, _ in rows] == ["cli_webhooks_add", "cli_webhooks_rotate_secret"]
    assert "'add', 'ops'" in rows[0][1]
    assert "'--topic', 'job.execution.failed'" in rows[0][1]
    assert not [extra for _, extra in rows if any(credential in extra for credential in CREDENTIALS)]


def test_a_database_that_fails_is_one_line_without_its_values(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError(f"SELECT '{SECRET}'", {"password": SECRET}, Exception("no such table"))

    monkeypatch.setattr(connection, "list_webhooks", fail)
    listed = run("list")
    assert (listed.code, listed.out) == (1, "")
    assert listed.err == (
        "Error: The metadata database can't be used (OperationalError): `airflow db check` says whether it answers, "
        "`airflow db migrate` makes its tables\n"
    )


def test_a_fall_back_group_is_named_in_errors(capsys: pytest.CaptureFixture[str]) -> None:
    from airflow_webhook_notify.cli.definition import _build_group

    command = next(c for c in _build_group("webhook-notify").subcommands if c.name == "ping")
    with pytest.raises(SystemExit):
        command.func(_parsed(conn_id="nobody"))
    assert "`airflow webhook-notify add`" in capsys.readouterr().err


def _parsed(*, conn_id: str) -> object:
    from argparse import Namespace

    return Namespace(conn_id=conn_id, output="table", verbose=False)


@pytest.fixture
def _log_levels() -> Iterator[None]:
    # --verbose sets them for the life of the process.
    root = logging.getLogger()
    loggers: list[Any] = [root, *root.handlers]
    before = [(logger, logger.level) for logger in loggers]
    yield
    for logger, level in before:
        logger.setLevel(level)


COMMANDS = (
    ["list"],
    ["show", "ops"],
    ["ping", "ops"],
    ["rotate-secret", "ops", "--secret", SECRET[:-4] + "AAAA"],
    ["doctor", "ops"],
    ["deliveries", "--webhook", "ops"],
    ["redeliver", "--dead-letters", "--since", "1d", "--yes"],
    ["pause", "ops"],
    ["show", "ops"],
    ["resume", "ops"],
    ["clean", "--dry-run"],
)


@pytest.mark.usefixtures("_log_levels")
@pytest.mark.parametrize("answer", [200, 301, 500])
@pytest.mark.parametrize("verbose", [(), ("--verbose",)])
@pytest.mark.parametrize("output", ["table", "json"])
def test_no_command_ever_shows_a_credential(
    run: Run, answer: int, verbose: tuple[str, ...], output: str, caplog: pytest.LogCaptureFixture
) -> None:
    words = []
    with RecordingServer(answer) as receiver:
        added = run(
            *("add", "ops", "--endpoint", receiver.url(PATH), "--allow-http", "--authorization", AUTHORIZATION),
            *("--secret", SECRET, "--header", f"X-Api-Key: {API_KEY}", "-o", output, *verbose),
        )
        words += [added.out, added.err]
        for command in COMMANDS:
            ended = run(*command, "-o", output, *verbose)
            words += [ended.out, ended.err]
        for row in run("deliveries", "-o", "json").rows:
            ended = run("delivery", row["id"], "-o", output, *verbose)
            words += [ended.out, ended.err]
        assert len(receiver.requests) >= 2
    text = "".join([*words, caplog.text])
    assert "127.0.0.1" in text
    assert [credential for credential in (*CREDENTIALS, SECRET[:-4] + "AAAA") if credential in text] == []
