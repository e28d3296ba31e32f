"""The intake over HTTP, with a real outbox on SQLite behind it.

Invariant: a post that is refused leaves the outbox as it was.
"""

from __future__ import annotations

import queue
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi import FastAPI
from sqlalchemy import create_engine

from airflow_webhook_notify import topics
from airflow_webhook_notify.api.intake import MAX_BODY, Intake, build_router
from airflow_webhook_notify.connection_reading import UnknownWebhookError
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import Delivery, Event, SigningSecret, Webhook
from airflow_webhook_notify.outbox import tables
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.payloads import event_to_json
from airflow_webhook_notify.signing import generate_secret, sign
from tests.asgi import serving
from tests.servers import PATIENCE
from tests.webhooks import SECRET, assert_no_credentials

NOW = 1_800_000_000.0
EVENT = Event(
    "e-1", topics.FAILED, 1_700_000_000_000, "acme", "JobExecution", {"JobId": "etl", "Airflow": {"DagId": "etl"}}
)
WEBHOOK = Webhook("team/ops", "https://hooks.example.com/T0pS3cr3tPath", (SigningSecret(SECRET),))
OTHER = Webhook("other", "https://other.example.com/x", (SigningSecret("another secret"),))


class Desk:
    """An intake, its outbox and the webhooks it knows."""

    def __init__(self, database: Path) -> None:
        engine = create_engine(f"sqlite:///{database}")
        tables.metadata.create_all(engine)
        self.outbox = Outbox(engine)
        self.webhooks = {webhook.id: webhook for webhook in (WEBHOOK, OTHER)}
        self.wakes: queue.Queue[None] = queue.Queue()
        self.app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        self.app.include_router(
            build_router(Intake(self.outbox, self._read, on_taken=lambda: self.wakes.put(None), now=lambda: NOW))
        )
        self.url = ""

    def _read(self, conn_id: str) -> Webhook:
        if conn_id not in self.webhooks:
            raise UnknownWebhookError(conn_id, "does not exist")
        return self.webhooks[conn_id]

    def wakes_after_one_more(self) -> int:
        """Return how often the relay was woken until it was for one more event."""
        assert self.post("team/ops", BODY, signed(BODY))[0] == 202
        self.wakes.get(timeout=PATIENCE)
        # A wake too many would have been before it, or come just after.
        time.sleep(0.05)
        return 1 + self.wakes.qsize()

    def post(self, conn_id: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        answer = requests.post(f"{self.url}/v1/webhooks/{conn_id}/events", data=body, headers=headers, timeout=10)
        return answer.status_code, answer.json()

    def stored(self) -> list[str]:
        return [record.event_id for record in self.outbox.deliveries().deliveries]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "outbox.db")
    with serving(desk.app) as desk.url:
        yield desk


def signed(body: bytes, *, secret: str = SECRET, message_id: str = "e-1", at: float = NOW) -> dict[str, str]:
    headers = sign(body, [secret], message_id=message_id, timestamp=int(at))
    return {**headers, "Content-Type": "application/json"}


BODY = event_to_json(EVENT)


def test_a_signed_event_is_taken_once_and_wakes_the_relay(desk: Desk) -> None:
    delivery = Delivery.of(EVENT, WEBHOOK.id)
    assert desk.post("team/ops", BODY, signed(BODY)) == (202, {"Id": delivery.id, "Created": True})
    assert desk.post("team/ops", BODY, signed(BODY)) == (202, {"Id": delivery.id, "Created": False})
    assert desk.stored() == ["e-1"]
    assert [desk.wakes.get(timeout=PATIENCE), desk.wakes.get(timeout=PATIENCE)] == [None, None]
    found = desk.outbox.delivery(delivery.id)
    assert found is not None
    assert found.event == EVENT
    assert (found.record.webhook_id, found.record.dag_id, found.record.created_at) == ("team/ops", "etl", NOW * 1000)


def test_the_id_of_a_webhook_may_be_escaped(desk: Desk) -> None:
    assert desk.post("team%2Fops", BODY, signed(BODY))[0] == 202


def tampered(body: bytes) -> bytes:
    return body.replace(b"etl", b"etx")


UNSIGNED = {"Content-Type": "application/json"}
HUB_ONLY = {name: value for name, value in signed(BODY).items() if not name.startswith("webhook-")}


@pytest.mark.parametrize(
    ("conn_id", "body", "headers"),
    [
        pytest.param("team/ops", BODY, UNSIGNED, id="unsigned"),
        pytest.param("team/ops", tampered(BODY), signed(BODY), id="tampered"),
        pytest.param("team/ops", BODY, signed(BODY, secret="another secret"), id="of another webhook"),
        pytest.param("other", BODY, signed(BODY), id="for another webhook"),
        pytest.param("team/ops", BODY, signed(BODY, at=NOW - 301), id="replayed"),
        pytest.param("team/ops", BODY, signed(BODY, at=NOW + 301), id="from the future"),
        pytest.param("team/ops", BODY, HUB_ONLY, id="without a timestamp"),
        pytest.param(
            "team/ops", BODY, {**signed(BODY), "webhook-signature": "v1,☃".encode().decode("latin-1")}, id="garbage"
        ),
        pytest.param("nowhere", BODY, signed(BODY), id="no such webhook"),
        pytest.param(
            "nowhere",
            BODY,
            signed(BODY, secret="whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            id="no such webhook, known secret",
        ),
    ],
)
def test_what_is_not_proven_is_refused_and_tells_nothing(
    desk: Desk, conn_id: str, body: bytes, headers: dict[str, str]
) -> None:
    refusal = "no such webhook, or a signature that is not of its secret and of the last five minutes"
    assert desk.post(conn_id, body, headers) == (401, {"detail": refusal})
    assert desk.stored() == []
    assert desk.wakes_after_one_more() == 1


@pytest.mark.parametrize(
    ("body", "message_id", "says"),
    [
        (b"{}", "e-1", "Id: must be a text"),
        (b"not json", "e-1", "the body is not JSON"),
        (b'"text"', "e-1", "the body is not a JSON object"),
        (
            BODY.replace(b"job.execution.failed", b"job.failed"),
            "e-1",
            "Id: must have 1 to 64 characters; Topic: must be",
        ),
        (BODY, "e-2", "Id: differs from the header webhook-id"),
    ],
)
def test_a_signed_body_that_is_no_event_is_refused_by_field(
    desk: Desk, body: bytes, message_id: str, says: str
) -> None:
    status, answer = desk.post("team/ops", body, signed(body, message_id=message_id))
    assert (status, answer["detail"].startswith(says)) == (422, True)
    assert desk.stored() == []


def test_a_body_that_is_too_large_is_refused_unread(desk: Desk) -> None:
    body = b" " * (MAX_BODY + 1)
    assert desk.post("team/ops", body, signed(body))[0] == 413


def test_another_type_of_body_is_refused(desk: Desk) -> None:
    headers = {**signed(BODY), "Content-Type": "text/plain"}
    assert desk.post("team/ops", BODY, headers) == (415, {"detail": "the body must be application/json"})


def test_a_rotated_secret_is_taken_at_once_though_the_webhook_was_read_before(desk: Desk) -> None:
    assert desk.post("team/ops", BODY, signed(BODY))[0] == 202
    new = generate_secret()
    desk.webhooks["team/ops"] = replace(
        WEBHOOK, secrets=(SigningSecret(new), SigningSecret(SECRET, int(NOW * 1000) + 1))
    )
    assert desk.post("team/ops", BODY, signed(BODY, secret=new))[0] == 202
    assert desk.post("team/ops", BODY, signed(BODY))[0] == 202


def test_an_outbox_that_was_never_migrated_is_said_in_one_line(desk: Desk, tmp_path: Path) -> None:
    for table in reversed(tables.metadata.sorted_tables):
        with sqlite3.connect(tmp_path / "outbox.db") as connection:
            connection.execute(f"DROP TABLE {table.name}")
    status, answer = desk.post("team/ops", BODY, signed(BODY))
    assert status == 503
    assert "airflow db migrate" in answer["detail"]
    assert "\n" not in answer["detail"]


def test_a_webhook_that_can_not_be_read_is_no_webhook(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_conn_id: str) -> Webhook:
        raise ConfigurationError("Endpoint URL", "is empty")

    app = FastAPI()
    app.include_router(build_router(Intake(desk.outbox, broken)))
    body = event_to_json(EVENT)
    with serving(app) as url:
        headers = signed(body, at=time.time())
        answer = requests.post(f"{url}/v1/webhooks/ops/events", data=body, headers=headers, timeout=10)
    assert answer.status_code == 401
    assert_no_credentials(caplog.text)


def test_nothing_but_the_route_is_served(desk: Desk) -> None:
    for path in ("/v1/webhooks", "/v1/webhooks/ops", "/"):
        assert requests.get(f"{desk.url}{path}", timeout=10).status_code == 404
    assert requests.get(f"{desk.url}/v1/webhooks/team/ops/events", timeout=10).status_code == 405


def test_the_events_of_many_callbacks_at_once_are_all_taken(desk: Desk) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def post(number: int) -> int:
        event = replace(EVENT, id=f"e-{number % 20}")
        body = event_to_json(event)
        return desk.post("team/ops", body, signed(body, message_id=event.id))[0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, range(60))) == {202}
    assert sorted(desk.stored()) == sorted({f"e-{n}" for n in range(20)})
