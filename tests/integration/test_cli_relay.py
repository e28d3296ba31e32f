"""The `relay` command in this process, with a real metadata database, a real receiver and real signals."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from airflow_webhook_notify.models import DeliveryState
from tests.integration.cli import Result, Run, make_run
from tests.integration.deliveries import clear_all, clear_outbox, enqueue, make_event, state_of
from tests.integration.relays import until
from tests.servers import PATIENCE, Answer, RecordingServer

#: 2023-11-14T22:13:20Z
T0 = 1_700_000_000_000


@pytest.fixture(autouse=True)
def _database(airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "127.0.0.0/8")
    clear_outbox()
    yield
    clear_all()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return make_run(capsys, monkeypatch)


def run_until(run: Run, condition: Callable[[], object], *, number: int = signal.SIGTERM) -> Result:
    """Run a relay, and send this process a signal once the condition is met."""
    met: list[bool] = []
    ended = threading.Event()

    def stop() -> None:
        try:
            condition()
            met.append(True)
        finally:
            # A relay that never started has left the signal to pytest.
            if not ended.is_set():
                os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop)
    thread.start()
    result = run("relay")
    ended.set()
    thread.join(2 * PATIENCE)
    assert met == [True]
    return result


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_relay_delivers_until_a_signal_stops_it(run: Run, number: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with RecordingServer() as receiver:
        run("add", "ops", "--endpoint", receiver.url(), "--allow-http")
        delivery_id = enqueue(make_event(), now=T0)
        ended = run_until(run, lambda: until(lambda: state_of(delivery_id) is DeliveryState.DELIVERED), number=number)
        assert [request.header("webhook-id") for request in receiver.requests] == [make_event().id]
    assert ended.code == 0
    assert f"The relay runs as process {os.getpid()}: up to 128 attempts at once" in caplog.text
    assert "[webhook_notify] relay = external" in caplog.text
    assert "The relay has stopped" in caplog.text
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_what_is_in_flight_is_finished(run: Run) -> None:
    with RecordingServer(Answer(200, delay=0.5)) as receiver:
        run("add", "ops", "--endpoint", receiver.url(), "--allow-http")
        delivery_id = enqueue(make_event(), now=T0)
        ended = run_until(run, lambda: receiver.wait_for(1))
    assert ended.code == 0
    assert state_of(delivery_id) is DeliveryState.DELIVERED


def test_an_external_relay_says_nothing_of_api_servers(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__RELAY", "external")
    assert run_until(run, lambda: until(lambda: "The relay runs" in caplog.text)).code == 0
    assert "API servers" not in caplog.text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("relay", "off"),
        ("retry_schedule", "5,soon"),
        ("relay_in_flight", "0"),
        ("relay_in_flight_per_webhook", "1001"),
        ("lease", "1"),
        ("resume_rate", "0"),
        ("retention", "0"),
        ("allowed_networks", "the office"),
    ],
)
def test_a_relay_does_not_start_with_an_option_out_of_range(
    run: Run, option: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW__WEBHOOK_NOTIFY__{option.upper()}", value)
    ended = run("relay")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"Error: [webhook_notify] {option}: ")
    assert ended.err.count("\n") == 1
