"""The commands that change and delete webhooks, on a real metadata database."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.models.log import Log
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_webhook_notify.connection import get_webhook
from tests.integration.cli import Run, make_run
from tests.integration.deliveries import clear_all, clear_outbox, enqueue, make_event, state_of
from tests.webhooks import AUTHORIZATION, PATH, SECRET, assert_no_credentials, define

T0 = 1_700_000_000_000
API_KEY = "the-api-key-in-a-header"


@pytest.fixture(autouse=True)
def _database(airflow_db: None) -> Iterator[None]:
    clear_outbox()
    yield
    clear_all()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    run = make_run(capsys, monkeypatch)
    added = run(
        *("add", "ops", f"--endpoint=https://example.org{PATH}", "--secret", SECRET, "--dag", "etl_*"),
        *("--header", f"X-Api-Key: {API_KEY}", "--header", "X-Team: data", "--nickname", "On call"),
    )
    assert added.code == 0
    return run


def extra() -> dict[str, Any]:
    """Return what the Connection's extra holds."""
    with create_session(scoped=False) as session:
        conn = session.scalars(select(Connection).where(Connection.conn_id == "ops")).one()
        stored: dict[str, Any] = json.loads(conn.extra or "{}")
        return stored


def test_edit_changes_what_is_named_and_nothing_else(run: Run) -> None:
    before = get_webhook("ops")
    edited = run(
        *("edit", "ops", "--rate", "60", "--retries", "--no-verify", "--level", "both", "--tag", "prod"),
        *("--header", "X-New: 1", "--remove-header", "x-team", "-o", "json"),
    )
    assert (edited.code, edited.row) == (
        0,
        {"conn_id": "ops", "changed": ["headers", "level", "rate", "retries", "tags", "verify"]},
    )
    after = get_webhook("ops")
    assert (after.rate, after.retries, after.verify, after.level.value, after.tags) == (
        60.0,
        True,
        False,
        "both",
        ("prod",),
    )
    assert after.headers == (("X-Api-Key", API_KEY), ("X-New", "1"))
    assert (after.secrets, after.endpoint, after.dags, after.nickname) == (
        before.secrets,
        before.endpoint,
        before.dags,
        "On call",
    )


def test_an_empty_text_is_none(run: Run) -> None:
    run("edit", "ops", "--rate", "60", "--authorization", AUTHORIZATION)
    assert run("edit", "ops", "--rate", "", "--dag", "", "--nickname", "", "--authorization", "").code == 0
    assert extra() == {"headers": {"X-Api-Key": API_KEY, "X-Team": "data"}}
    assert get_webhook("ops").nickname == "ops"


def test_a_hidden_value_is_read_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{AUTHORIZATION}\n"))
    assert run("edit", "ops", "--authorization", "-").code == 0
    assert get_webhook("ops").authorization == AUTHORIZATION


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nothing to change: name at least one option"),
        (("--endpoint", "http://e.org"), "Endpoint URL: is plain http"),
        (("--timeout", "61"), "Timeout: must be a number of seconds from 0.1 to 60"),
        (("--topic", "job.failed"), "Topics: there is no topic 'job.failed'"),
        (("--header", "X-Team"), "--header: there is no colon in it"),
    ],
)
def test_what_can_not_be_used_changes_nothing(run: Run, arguments: tuple[str, ...], says: str) -> None:
    before = extra()
    edited = run("edit", "ops", *arguments)
    assert (edited.code, edited.out, edited.err.startswith(f"Error: {says}")) == (1, "", True), edited.err
    assert extra() == before


def test_the_audit_log_tells_what_was_changed_without_credentials(run: Run) -> None:
    run("edit", "ops", f"--endpoint=https://e.org{PATH}", "--authorization", AUTHORIZATION, "--no-verify", "--rate=9")
    run("delete", "ops", "--yes")
    with create_session(scoped=False) as session:
        rows = [(row.event, str(row.extra)) for row in session.scalars(select(Log).order_by(Log.id))][1:]
    assert [event for event, _ in rows] == ["cli_webhooks_edit", "cli_webhooks_delete"]
    assert "'--no-verify'" in rows[0][1]
    assert "'--rate', '9.0'" in rows[0][1]
    assert_no_credentials("".join(told for _, told in rows))


def test_delete_asks_says_what_waits_and_cancels_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = [enqueue(make_event(number), now=T0) for number in range(2)]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    refused = run("delete", "ops")
    assert refused.err.startswith("Delete the webhook 'ops', and cancel 2 deliveries waiting? [y/N] ")
    assert (refused.code, get_webhook("ops").id) == (1, "ops")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    deleted = run("delete", "ops", "-o", "json")
    assert (deleted.code, deleted.row) == (0, {"conn_id": "ops", "cancelled": 2})
    assert {state_of(each).value for each in waiting} == {"cancelled"}
    assert run("show", "ops").code == 1


def test_delete_of_what_there_is_not_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not exist" in run("delete", "nobody", "--yes").err
    define(monkeypatch, "in_env", "https://e.org")
    kept = run("delete", "in_env", "--yes")
    assert (kept.code, "comes from the environment variable AIRFLOW_CONN_IN_ENV" in kept.err) == (1, True)
