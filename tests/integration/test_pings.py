"""Pings by Airflow's connection page, on a real metadata database."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.models.connection import Connection
from airflow.utils.session import create_session
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from airflow_webhook_notify import pings
from airflow_webhook_notify.connection_store import create_webhook
from airflow_webhook_notify.hooks import WebhookHook
from airflow_webhook_notify.models import SigningSecret, Webhook
from airflow_webhook_notify.outbox.records import DeliveryFilter, DeliveryRecord
from airflow_webhook_notify.outbox.store import Outbox
from tests.integration.deliveries import clear_outbox, hide_outbox
from tests.servers import RecordingServer
from tests.webhooks import PATH, SECRET, define

MISSING = "the outbox's tables are missing or too old; run `airflow db migrate`"


@pytest.fixture(autouse=True)
def _database(airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "127.0.0.0/8")
    # As in the API server.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    clear_outbox()
    yield
    monkeypatch.undo()
    clear_outbox()
    with create_session(scoped=False) as session:
        session.execute(delete(Connection).where(Connection.conn_type == "webhook"))


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        create_webhook(Webhook("ops", server.url(PATH), (SigningSecret(SECRET),), allow_http=True, nickname="On call"))
        yield server


def press_test(monkeypatch: pytest.MonkeyPatch, endpoint: str, **fields: str) -> tuple[bool, str]:
    """Test a Connection as the page does: under an id of the moment."""
    define(monkeypatch, "xk2j4h", endpoint, **fields)
    return WebhookHook("xk2j4h").test_connection()


def logged() -> tuple[DeliveryRecord, ...]:
    return Outbox().deliveries(DeliveryFilter()).deliveries


def test_the_ping_of_the_page_has_the_webhooks_own_id_in_the_log_and_on_the_wire(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert press_test(monkeypatch, server.url(PATH))[0] is True
    (request,) = server.requests
    payload = json.loads(request.body)
    assert (payload["Data"]["Id"], payload["Data"]["Alias"]) == ("ops", "On call")
    (record,) = logged()
    assert (record.webhook_id, record.event_id, record.last_status) == ("ops", request.header("webhook-id"), 200)


@pytest.mark.parametrize("change", ["endpoint", "secret"])
def test_what_is_not_stored_so_is_pinged_and_not_logged(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    if change == "endpoint":
        assert press_test(monkeypatch, server.url(f"{PATH}/other"))[0] is True
    else:
        assert press_test(monkeypatch, server.url(PATH), secret="another secret")[0] is True
    assert len(server.requests) == 1
    assert logged() == ()


def test_a_process_without_the_database_does_not_ask_for_it(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise AssertionError("asked")

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setattr(pings, "list_webhooks", fail)
    # The webhook itself, since this process, which is none of a task's, can't read a Connection as one.
    webhook = Webhook("xk2j4h", server.url(PATH), (SigningSecret(SECRET),), allow_http=True)
    assert WebhookHook("xk2j4h", webhook=webhook).test_connection()[0] is True
    assert logged() == ()


def test_an_outbox_that_is_missing_costs_no_ping(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hide_outbox(monkeypatch, tmp_path)
    caplog.set_level(logging.WARNING, logger=pings.__name__)
    assert press_test(monkeypatch, server.url(PATH))[0] is True
    assert caplog.messages == [f"webhook ops: a ping is not in the delivery log: {MISSING}"]


def test_a_database_that_fails_costs_no_ping(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OperationalError(f"SELECT '{SECRET}'", {}, Exception("locked"))

    monkeypatch.setattr(pings, "list_webhooks", fail)
    assert press_test(monkeypatch, server.url(PATH))[0] is True
    assert "no webhook can be read (OperationalError)" in caplog.text
    assert SECRET not in caplog.text
