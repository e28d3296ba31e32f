"""docs/bad-input.md is true: each row of its tables is done for real, and what comes of it compared.

Invariant: no row is left out; a table that no test reads fails here. That of the REST API is for
tests/integration/test_rest_bad_input.py.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_webhook_notify import config
from airflow_webhook_notify.client import Client
from airflow_webhook_notify.connection import parse_webhook
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.executions import Built, Sources, build_event
from airflow_webhook_notify.notifications import WebhookNotifier
from tests.contexts import task_context
from tests.sending import DELIVERY, make_webhook

DOC = (Path(__file__).parents[2] / "docs" / "bad-input.md").read_text(encoding="utf-8")
_CODE = re.compile(r"(`+)(.+?)\1")


@dataclass(frozen=True)
class Row:
    """One row of a table, its cells without the marks of Markdown."""

    given: str
    cells: tuple[str, ...]

    @property
    def text(self) -> str:
        """What the second column says."""
        return self.cells[0]


def rows(name: str) -> list[Row]:
    """Return the rows of one table."""
    table = re.search(rf"<!-- table: {name} -->\n\n((?:\|.*\n)+)", DOC)
    assert table, name
    return list(_rows(table[1].splitlines()[2:]))


def _rows(lines: list[str]) -> Iterator[Row]:
    for line in lines:
        # A bar inside a cell is written \|.
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        given, *rest = [_plain(cell) for cell in cells]
        yield Row(given, tuple(rest))


def _plain(cell: str) -> str:
    code = _CODE.search(cell)
    return code[2].replace(r"\|", "|") if code else cell


def named(table: str) -> list[Any]:
    """Return a table's rows for `parametrize`."""
    return [pytest.param(row, id=row.given[:60]) for row in rows(table)]


def test_every_table_is_read_and_has_rows() -> None:
    assert re.findall(r"<!-- table: (\w+) -->", DOC) == [
        "connection",
        "way",
        "code",
        "data",
        "exceptions",
        "options",
        "rest",
    ]
    assert len(re.findall(r"^\|---", DOC, re.M)) == 7


@dataclass
class Conn:
    """A good Connection."""

    conn_id: str = "ops"
    conn_type: str | None = "webhook"
    description: str | None = None
    host: str | None = "https://hooks.example.com/airflow"
    password: str | None = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    extra: str | None = None


@pytest.mark.parametrize("row", named("connection"))
def test_a_bad_field_of_the_connection(row: Row) -> None:
    field, _, value = row.given.partition(": ")
    # Extra is JSON itself, or pretends to be.
    conn = Conn(**{field: value if field == "extra" else json.loads(value)})
    with pytest.raises(ConfigurationError) as caught:
        parse_webhook(conn)
    assert str(caught.value) == row.text


@pytest.mark.parametrize("row", named("code"))
def test_bad_code(row: Row) -> None:
    with pytest.raises(ConfigurationError) as caught:
        # The doc is ours, and running it is the point.
        eval(row.given, {"WebhookNotifier": WebhookNotifier})  # noqa: S307
    assert str(caught.value) == row.text


@pytest.mark.parametrize("row", named("way"))
def test_a_bad_way(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = make_webhook(row.given if "://" in row.given else "https://hooks.example.com/")
    if row.given.endswith(".pem"):
        webhook = make_webhook("https://127.0.0.1:9/", ca_bundle=row.given)
    if urlsplit(webhook.endpoint).hostname == "hooks.example.com":
        # The real resolver would ask a name server.
        monkeypatch.setattr(socket, "getaddrinfo", _unknown_name)
    with Client(allowed_networks=()) as client:
        said = client.send(webhook, DELIVERY, number=1).error
    assert said is not None
    if row.text.endswith("…"):
        assert said.startswith(row.text[:-1])
    else:
        assert said == row.text


def _unknown_name(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class UnspeakableError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def values() -> dict[str, Any]:
    """What the doc's expressions may name."""
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    nested: Any = []
    for _ in range(20):
        nested = [nested]
    kinds = (datetime, timedelta, timezone, Decimal, UUID, PurePosixPath, UnspeakableError)
    return {kind.__name__: kind for kind in kinds} | {"cycle": cycle, "nested": nested}


def evaluate(expression: str) -> Any:
    # The doc is ours, and running it is the point.
    return eval(expression, values())  # noqa: S307


def event_of(*, data: dict[str, Any] | None = None, exception: BaseException | None = None) -> Built:
    with DAG("etl"):
        task = BaseOperator(task_id="load")
    context = task_context(task, state="failed" if exception else "success", exception=exception)
    sources = Sources(organization_id="test", now=1, redact=lambda text, _: text.replace("hunter2", "***"))
    return build_event(context, data, sources)


@pytest.mark.parametrize("row", named("data"))
def test_data_without_a_form(row: Row) -> None:
    built = event_of(data={"value": evaluate(row.given)})
    assert built.event.data["Custom"] == {"value": evaluate(row.cells[0])}
    assert_said(built, row.cells[1])


@pytest.mark.parametrize("row", named("exceptions"))
def test_a_bad_text_of_an_exception(row: Row) -> None:
    built = event_of(exception=evaluate(row.given))
    attempt: Any = built.event.data["LastAttempt"]
    assert attempt["Message"] == evaluate(row.cells[0])
    assert_said(built, row.cells[1])


def assert_said(built: Built, log: str) -> None:
    """Check that what was cut is said, in the log and in the event, and nothing else is."""
    assert built.problems == ((log,) if log else ())
    assert built.event.data.get("Truncated", False) is bool(log)


@pytest.mark.parametrize("row", named("options"))
def test_a_bad_option(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value = row.given.split(" = ")
    (option,) = (option for option in config.OPTIONS if option.name == name)
    monkeypatch.setenv(f"AIRFLOW__WEBHOOK_NOTIFY__{name.upper()}", value)
    with pytest.raises(ConfigurationError) as caught:
        option.read()
    assert str(caught.value) == row.text
