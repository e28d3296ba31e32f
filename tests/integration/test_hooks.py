"""`WebhookHook` against a real HTTP server.

Invariant: what a test asserts arrived, a verifier that is not ours has taken too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_webhook_notify import topics
from airflow_webhook_notify.exceptions import ConfigurationError, DeliveryError
from airflow_webhook_notify.hooks import WebhookHook, shared_client
from airflow_webhook_notify.models import Event
from airflow_webhook_notify.schema import payload_schema
from tests.servers import Answer, RecordingServer
from tests.verifiers import verify_with_standardwebhooks
from tests.webhooks import AUTHORIZATION, PATH, SECRET, define, validate_payload

EVENT = Event("e-1", topics.FAILED, 1_700_000_000_000, "acme", "JobExecution", {})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingServer]:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "127.0.0.0/8")
    with RecordingServer() as server:
        define(monkeypatch, "ops", server.url(PATH))
        yield server


def test_an_event_arrives_signed_and_authorized(server: RecordingServer) -> None:
    attempt = WebhookHook("ops").deliver(EVENT)
    [request] = server.requests
    verify_with_standardwebhooks(request.body, request.header_map, SECRET)
    assert (attempt.status, attempt.number, attempt.succeeded) == (200, 1, True)
    assert (request.method, request.path) == ("POST", PATH)
    assert request.header("Authorization") == AUTHORIZATION
    assert request.header("Content-Type") == "application/json"
    assert request.header("webhook-id") == EVENT.id
    assert json.loads(request.body)["Metadata"]["Attempt"]["Id"] == attempt.id


def test_a_ping_tells_the_endpoint_what_is_known_of_it(server: RecordingServer) -> None:
    ping = WebhookHook("ops").ping()
    [request] = server.requests
    verify_with_standardwebhooks(request.body, request.header_map, SECRET)
    payload = json.loads(request.body)
    validate_payload(payload, payload_schema())
    assert (payload["Topic"], payload["Resource"], payload["Id"]) == ("webhook.ping", "webhook", ping.event.id)
    assert payload["Data"] == {
        "Id": "ops",
        "Alias": "On call",
        "Url": server.url(PATH),
        "Topics": list(topics.JOB_TOPICS),
        "State": "active",
        "OrganizationId": "airflow",
    }
    assert SECRET not in request.body.decode()
    assert AUTHORIZATION not in request.body.decode()


def test_a_failed_try_is_tried_again_and_the_same_event_arrives(server: RecordingServer) -> None:
    server.answer_with(Answer(500), Answer(503), Answer(204))
    waits: list[float] = []
    attempt = WebhookHook("ops", sleep=waits.append).deliver(EVENT)
    assert (attempt.number, attempt.status, waits) == (3, 204, [0.5, 1.5])
    assert {request.header("webhook-id") for request in server.requests} == {EVENT.id}
    payloads = [json.loads(request.body) for request in server.requests]
    assert len({payload["Metadata"]["Attempt"]["Id"] for payload in payloads}) == 3
    assert len({payload["Metadata"]["Delivery"]["Id"] for payload in payloads}) == 1


def test_three_tries_are_all_and_the_last_one_is_told(server: RecordingServer) -> None:
    server.answer_with(Answer(500))
    with pytest.raises(DeliveryError) as caught:
        WebhookHook("ops", sleep=lambda _seconds: None).deliver(EVENT)
    assert len(server.requests) == 3
    text = str(caught.value)
    origin = server.url("")
    assert text.startswith(f"job.execution.failed e-1 was not delivered to {origin} in 3 attempts: answered 500")
    assert PATH not in text


def test_retry_after_is_a_minimum_and_never_outlasts_the_deadline(server: RecordingServer) -> None:
    server.answer_with(Answer(429, (("Retry-After", "2"),)), Answer(429, (("Retry-After", "60"),)))
    waits: list[float] = []
    with pytest.raises(DeliveryError, match="in 2 attempts: answered 429"):
        WebhookHook("ops", sleep=waits.append).deliver(EVENT)
    assert waits == [2.0]


def test_an_endpoint_that_is_gone_is_not_tried_again(server: RecordingServer) -> None:
    server.answer_with(410)
    with pytest.raises(DeliveryError, match="in 1 attempt: answered 410"):
        WebhookHook("ops").deliver(EVENT)
    assert len(server.requests) == 1


def test_all_tries_together_keep_the_deadline(server: RecordingServer) -> None:
    server.answer_with(Answer(200, delay=30))
    started = time.monotonic()
    with pytest.raises(DeliveryError):
        WebhookHook("ops").deliver(EVENT, deadline=0.5)
    # Far from 30 s, whatever the machine has to do besides.
    assert time.monotonic() - started < 10


def test_the_deadline_of_the_options_is_the_default(server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__DIRECT_DEADLINE", "0.3")
    server.answer_with(Answer(200, delay=30))
    started = time.monotonic()
    with pytest.raises(DeliveryError):
        WebhookHook("ops").deliver(EVENT)
    assert time.monotonic() - started < 10


def test_the_connections_are_kept_from_one_event_to_the_next(server: RecordingServer) -> None:
    for _ in range(3):
        WebhookHook("ops").deliver(EVENT)
    assert server.connections == 1


def test_the_test_button_pings(server: RecordingServer) -> None:
    assert WebhookHook("ops").test_connection() == (True, f"{server.url('')} answered the ping with 200")
    server.answer_with(Answer(401))
    succeeded, text = WebhookHook("ops").test_connection()
    assert (succeeded, text.startswith(f"{server.url('')}: answered 401")) == (False, True)


def test_the_test_button_says_what_is_wrong_with_the_connection() -> None:
    assert WebhookHook("nowhere").test_connection() == (
        False,
        "Connection 'nowhere': does not exist; make it with `airflow webhooks add` or in Admin, Connections",
    )


def test_loopback_is_refused_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordingServer() as server:
        define(monkeypatch, "ops", server.url(PATH))
        with pytest.raises(DeliveryError, match=r"127\.0\.0\.1.*\[webhook_notify\] allowed_networks"):
            WebhookHook("ops").deliver(EVENT)
        assert server.requests == []


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("ALLOWED_NETWORKS", "10.0.0.1/8", r"\[webhook_notify\] allowed_networks: .*has host bits set"),
        ("ALLOWED_NETWORKS", "here", r"\[webhook_notify\] allowed_networks: 'here' does not appear"),
        ("DIRECT_DEADLINE", "11", r"\[webhook_notify\] direct_deadline: '11' is not a number of seconds from 0.1"),
        ("DIRECT_DEADLINE", "soon", r"\[webhook_notify\] direct_deadline: 'soon' is not a number of seconds"),
    ],
)
def test_an_option_that_can_not_be_used_is_named(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch, option: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW__WEBHOOK_NOTIFY__{option}", value)
    with pytest.raises(ConfigurationError, match=says):
        WebhookHook("ops").deliver(EVENT)
    assert server.requests == []


def test_the_client_is_one_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "127.0.0.0/8")
    first: Any = shared_client()
    assert shared_client() is first
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "10.0.0.0/8")
    assert shared_client() is not first
