"""The hand-over to the intake, against a real HTTP server in its place.

Invariant: what arrives is verified as the intake verifies it.
"""

from __future__ import annotations

import socket

import pytest

from airflow_webhook_notify import handover, topics
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.handover import COOL_DOWN, HandOver, HandOverError, intake_url
from airflow_webhook_notify.hooks import WebhookHook
from airflow_webhook_notify.models import Event, SigningSecret, Webhook
from airflow_webhook_notify.payloads import event_from_json
from airflow_webhook_notify.signing import verify
from tests.integration.conftest import Certificates
from tests.servers import Answer, ProxyServer, RecordingServer
from tests.webhooks import AUTHORIZATION, SECRET, assert_no_credentials

EVENT = Event("e-1", topics.FAILED, 1_700_000_000_000, "acme", "JobExecution", {"Id": "x", "Custom": {"é": "☃"}})
WEBHOOK = Webhook("team/ops", "https://hooks.example.com/T0pS3cr3tPath", (SigningSecret(SECRET),), AUTHORIZATION)
TAKEN = Answer(202, (("Content-Type", "application/json"),), b'{"Id": "d-1", "Created": true}')


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _no_intake_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL")


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{url}/execution/")


def test_the_event_arrives_whole_and_signed_by_the_webhooks_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordingServer(TAKEN) as server:
        point_at(monkeypatch, server.url("/air"))
        assert WebhookHook("team/ops", webhook=WEBHOOK).enqueue(EVENT) == "d-1"
        [request] = server.requests
    verify(request.body, request.headers, [SECRET], require_timestamp=True)
    assert request.path == "/air/webhook-notify/v1/webhooks/team%2Fops/events"
    assert request.header("Content-Type") == "application/json"
    assert event_from_json(request.body) == EVENT
    # The intake needs neither: what is not sent can't be logged there.
    assert request.header("Authorization") is None
    assert "T0pS3cr3tPath" not in request.body.decode()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(401, body=b'{"detail": "no such webhook"}'), "answered 401: no such webhook"),
        (Answer(404, body=b"<html>"), "answered 404"),
        (Answer(503, body=b'{"detail": "run `airflow db migrate`"}'), "answered 503: run `airflow db migrate`"),
        (Answer(200), "answered 200"),
        (Answer(202, delay=30), "can't be reached (TimeoutError)"),
    ],
)
def test_an_intake_that_does_not_take_it_is_told(monkeypatch: pytest.MonkeyPatch, answer: Answer, says: str) -> None:
    with RecordingServer(answer) as server:
        point_at(monkeypatch, server.url(""))
        with pytest.raises(HandOverError) as caught:
            HandOver().send(WEBHOOK, EVENT, timeout=0.3)
    assert str(caught.value) == f"the intake at {server.url('')} {says}"
    assert_no_credentials(str(caught.value))


def test_an_intake_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    point_at(monkeypatch, f"http://127.0.0.1:{port}")
    with pytest.raises(
        HandOverError, match=rf"the intake at http://127.0.0.1:{port} can't be reached \(ConnectionRefusedError\)"
    ):
        HandOver().send(WEBHOOK, EVENT)


def test_an_intake_that_failed_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    hand_over = HandOver(clock=clock)
    with RecordingServer(503, TAKEN) as server:
        point_at(monkeypatch, server.url(""))
        for _ in range(3):
            with pytest.raises(HandOverError, match="answered 503"):
                hand_over.send(WEBHOOK, EVENT)
        assert len(server.requests) == 1
        clock.seconds = COOL_DOWN
        assert hand_over.send(WEBHOOK, EVENT) == "d-1"


def test_an_https_intake_is_verified_as_the_task_sdk_verifies_it(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    handover._context.cache_clear()
    with RecordingServer(TAKEN, tls=certificates.good) as server:
        point_at(monkeypatch, server.url(""))
        with pytest.raises(HandOverError, match=r"can't be reached \(SSLCertVerificationError\)"):
            HandOver().send(WEBHOOK, EVENT)
        monkeypatch.setenv("AIRFLOW__API__SSL_CERT", certificates.bundle)
        handover._context.cache_clear()
        assert HandOver().send(WEBHOOK, EVENT) == "d-1"
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("scheme", "asked"),
    [
        ("http", "POST http://127.0.0.1:{port}/webhook-notify/v1/webhooks/team%2Fops/events"),
        ("https", "CONNECT 127.0.0.1:{port}"),
    ],
)
def test_a_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates, scheme: str, asked: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__SSL_CERT", certificates.bundle)
    handover._context.cache_clear()
    tls = certificates.good if scheme == "https" else None
    with RecordingServer(TAKEN, tls=tls) as server, ProxyServer(credentials="user:pass word") as proxy:
        point_at(monkeypatch, server.url(""))
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url("").replace("//", "//user:pass%20word@"))
        assert HandOver().send(WEBHOOK, EVENT) == "d-1"
        assert server.requests[0].path == "/webhook-notify/v1/webhooks/team%2Fops/events"
        assert server.requests[0].header("Host") == f"127.0.0.1:{server.port}"
        assert proxy.asked == [asked.format(port=server.port)]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        HandOver().send(WEBHOOK, EVENT)
        assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://localhost:8080/webhook-notify"),
        ({"API__BASE_URL": "https://airflow.example.com/prod"}, "https://airflow.example.com/prod/webhook-notify"),
        ({"API__BASE_URL": "/prod"}, "http://localhost:8080/prod/webhook-notify"),
        (
            {
                "API__BASE_URL": "https://airflow.example.com",
                "CORE__EXECUTION_API_SERVER_URL": "http://api-server:8080/execution/",
            },
            "http://api-server:8080/webhook-notify",
        ),
        (
            {
                "CORE__EXECUTION_API_SERVER_URL": "http://execution:8080/execution/",
                "WEBHOOK_NOTIFY__INTAKE_URL": "http://api-server:8080/prod/",
            },
            "http://api-server:8080/prod/webhook-notify",
        ),
    ],
)
def test_where_the_intake_is(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"AIRFLOW__{name}", value)
    assert intake_url() == url


def test_an_intake_url_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__INTAKE_URL", "api-server")
    with pytest.raises(ConfigurationError, match=r"\[webhook_notify\] intake_url: "):
        HandOver().send(WEBHOOK, EVENT)
