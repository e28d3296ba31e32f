"""One attempt of a claim, where no HTTP is needed to tell what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airflow_webhook_notify.client import Client
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import Delivery, Event, Webhook
from airflow_webhook_notify.outbox.records import Claim
from airflow_webhook_notify.relay_attempts import KEPT, Attempts, Webhooks
from airflow_webhook_notify.relay_pacing import Margin
from airflow_webhook_notify.relay_settings import RelaySettings
from airflow_webhook_notify.retry import Disposition, Schedule
from tests.sending import DELIVERY, EVENT, make_webhook

NOW = 1_700_000_000_000


def make_claim(delivery: Delivery = DELIVERY, *, step: int = 1, expires_at: int = NOW + 60_000) -> Claim:
    return Claim(delivery, step, step, "token", expires_at=expires_at, due_at=NOW, created_at=NOW)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


def make_attempts(client: Client, read: Callable[[str], Webhook], *, jitter: float = 0.0) -> Attempts:
    return Attempts(
        client,
        Webhooks(read),
        schedule=Schedule((5, 300)),
        margin=Margin(60.0),
        clock=lambda: NOW,
        jitter=lambda: jitter,
    )


def fail_with(error: Exception) -> Callable[[str], Webhook]:
    def read(webhook_id: str) -> Webhook:
        raise error

    return read


def test_a_webhook_that_cant_be_had_is_a_failed_attempt_of_the_schedule(client: Client) -> None:
    attempts = make_attempts(client, fail_with(ConfigurationError("Endpoint URL", "is missing")), jitter=1.0)
    result = attempts.make(make_claim())

    assert result is not None
    assert result.attempt.error == "Endpoint URL: is missing"
    assert (result.attempt.number, result.attempt.started_at, result.attempt.status) == (1, NOW, None)
    assert result.disposition == Disposition(due_at=NOW + 6000)


def test_the_last_attempt_of_the_schedule_ends_in_a_dead_letter(client: Client) -> None:
    result = make_attempts(client, fail_with(ConfigurationError("Endpoint URL", "is missing"))).make(make_claim(step=3))

    assert result is not None
    assert result.disposition.dead_letter


def test_an_event_that_is_no_json_is_a_failed_attempt(client: Client) -> None:
    event = Event("event", EVENT.topic, 0, "org", "JobExecution", {"value": float("nan")})
    attempts = make_attempts(client, lambda _: make_webhook("http://127.0.0.1:9/hook"))
    result = attempts.make(make_claim(Delivery.of(event, "ops")))

    assert result is not None
    assert (result.attempt.error or "").startswith("the event can't be written as JSON")


def test_what_nobody_foresaw_is_a_failed_attempt_and_its_text_is_shown_nowhere(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    result = make_attempts(client, fail_with(KeyError("https://example.com/T0KEN"))).make(make_claim())

    assert result is not None
    assert result.attempt.error == "KeyError in the relay; see its log"
    assert "failed by KeyError" in caplog.text
    assert "in read" in caplog.text
    assert "T0KEN" not in caplog.text


def test_no_attempt_begins_that_could_outlast_its_lease(client: Client) -> None:
    attempts = make_attempts(client, lambda _: make_webhook("http://127.0.0.1:9/hook", timeout=10.0))

    assert attempts.make(make_claim(expires_at=NOW + 12_999)) is None
    assert attempts.make(make_claim(expires_at=NOW + 13_000)) is not None


def test_a_webhook_is_read_again_after_a_few_seconds() -> None:
    reads, clock = [], [0.0]

    def read(webhook_id: str) -> Webhook:
        reads.append(webhook_id)
        if len(reads) == 2:
            raise ConfigurationError("Endpoint URL", "is missing")
        return make_webhook(f"https://example.com/{len(reads)}")

    webhooks = Webhooks(read, monotonic=lambda: clock[0])
    assert webhooks.origin("ops") == "no endpoint"
    assert [webhooks.get("ops").endpoint for _ in range(3)] == ["https://example.com/1"] * 3
    assert webhooks.origin("ops") == "https://example.com"
    clock[0] = KEPT + 0.1
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="is missing"):
            webhooks.get("ops")
    clock[0] = 2 * (KEPT + 0.1)
    assert webhooks.get("ops").endpoint == "https://example.com/3"
    assert reads == ["ops"] * 3


def test_settings_are_those_of_airflow_cfg(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RelaySettings.read() == RelaySettings()
    for name, value in {"LEASE": "90", "RELAY_IN_FLIGHT": "7", "RETRY_SCHEDULE": "1,2"}.items():
        monkeypatch.setenv(f"AIRFLOW__WEBHOOK_NOTIFY__{name}", value)

    assert RelaySettings.read() == RelaySettings(lease=90.0, in_flight=7, schedule=Schedule((1.0, 2.0)))


@pytest.mark.parametrize("name", ["lease", "relay_in_flight", "retry_schedule", "resume_rate", "retention"])
def test_a_setting_that_cant_be_used_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__WEBHOOK_NOTIFY__{name.upper()}", "soon")

    with pytest.raises(ConfigurationError, match=rf"\[webhook_notify\] {name}: 'soon'"):
        RelaySettings.read()
