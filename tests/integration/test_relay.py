"""The relay between a real database and real servers."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from airflow_webhook_notify import relay as relay_module
from airflow_webhook_notify.client import Client
from airflow_webhook_notify.models import DeliveryState
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.outbox.tables import metadata
from airflow_webhook_notify.relay import Relay
from airflow_webhook_notify.retry import Schedule
from airflow_webhook_notify.signing import verify
from tests.integration.conftest import Certificates
from tests.integration.outboxes import DATABASES, DAY, HOUR, SECOND, T0, make_engine, make_url
from tests.integration.relays import SETTINGS, RelayUnderTest, until
from tests.sending import SECRET, SECRET_PATH
from tests.servers import PATIENCE, Answer, RawServer, RecordingServer, Request, read_request


@pytest.fixture(params=DATABASES)
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RelayUnderTest]:
    """A relay's surroundings on each database."""
    engine = make_engine(make_url(request.param, request, tmp_path))
    metadata.create_all(engine)
    yield RelayUnderTest(Outbox(engine))
    engine.dispose()


@pytest.fixture
def light(tmp_path: Path) -> Iterator[RelayUnderTest]:
    """The same where the database makes no difference: on SQLite, with little patience for another's lock."""
    engine = make_engine(f"sqlite:///{tmp_path / 'outbox.db'}", patience=0.05)
    metadata.create_all(engine)
    yield RelayUnderTest(Outbox(engine))
    engine.dispose()


def event_ids(requests: list[Request]) -> list[str | None]:
    return [request.header("webhook-id") for request in requests]


# What goes out, and when


def test_a_delivery_goes_out_signed_and_is_in_the_log(box: RelayUnderTest) -> None:
    with RecordingServer(Answer(201, body=b"thanks")) as server:
        box.add("ops", server.url())
        (delivery,) = box.enqueue()
        with box.running():
            (request,) = server.wait_for(1)
            box.wait_for_all()

    verify(request.body, request.header_map, SECRET, now=T0 / 1000, tolerance=10**9)
    detail = box.detail(delivery)
    assert event_ids([request]) == [delivery.event.id]
    assert detail.record.attempts_count == 1
    assert [(attempt.status, attempt.response) for attempt in detail.attempts] == [(201, "thanks")]


def test_what_is_taken_in_while_it_idles_goes_out_when_it_is_woken(box: RelayUnderTest) -> None:
    with RecordingServer() as server:
        box.add("ops", server.url())
        (first,) = box.enqueue()
        with box.running(replace(SETTINGS, poll=10 * PATIENCE)) as relay:
            box.wait_for_attempts(first, 1)
            (second,) = box.enqueue()
            relay.wake()
            requests = server.wait_for(2)

    assert event_ids(requests) == [first.event.id, second.event.id]
    assert box.state(second) is DeliveryState.DELIVERED


def test_what_another_process_took_in_goes_out_within_a_poll(box: RelayUnderTest) -> None:
    with RecordingServer() as server:
        box.add("ops", server.url())
        with box.running():
            (first,) = box.enqueue()
            server.wait_for(1)
            (second,) = box.enqueue()
            requests = server.wait_for(2)

    assert event_ids(requests) == [first.event.id, second.event.id]


def test_failures_are_tried_again_by_the_schedule_until_one_succeeds(box: RelayUnderTest) -> None:
    due = []
    with RecordingServer(500, 503, 200) as server:
        box.add("ops", server.url())
        (delivery,) = box.enqueue()
        with box.running() as relay:
            for number in (1, 2):
                record = box.wait_for_attempts(delivery, number).record
                due.append(record.due_at)
                box.clock.now = record.due_at or 0
                relay.wake()
            requests = server.wait_for(3)
            box.wait_for_all()

    assert due == [T0 + 5 * SECOND, T0 + 305 * SECOND]
    assert event_ids(requests) == [delivery.event.id] * 3
    attempts = box.detail(delivery).attempts
    assert [(attempt.number, attempt.status) for attempt in attempts] == [(1, 500), (2, 503), (3, 200)]
    assert len({attempt.id for attempt in attempts}) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_an_endpoint_that_asks_for_time_gets_it(light: RelayUnderTest, status: int) -> None:
    with RecordingServer(Answer(status, (("Retry-After", "120"),))) as server:
        light.add("ops", server.url())
        (delivery,) = light.enqueue()
        with light.running():
            record = light.wait_for_attempts(delivery, 1).record

    assert record.due_at == T0 + 120 * SECOND


def test_an_exhausted_schedule_ends_in_a_dead_letter_that_can_be_sent_again(
    box: RelayUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    with RecordingServer(500, 500, 200) as server:
        box.add("ops", server.url(SECRET_PATH))
        (delivery,) = box.enqueue()
        with box.running(replace(SETTINGS, schedule=Schedule((5,)))) as relay:
            box.wait_for_attempts(delivery, 1)
            box.clock.now += 5 * SECOND
            box.wait_for_attempts(delivery, 2)
            assert box.state(delivery) is DeliveryState.DEAD_LETTER
            assert box.outbox.redeliver([delivery.id], now=box.clock()) == (delivery.id,)
            relay.wake()
            server.wait_for(3)

    assert box.state(delivery) is DeliveryState.DELIVERED
    assert f"`airflow webhooks redeliver {delivery.id}` sends it again" in caplog.text
    assert "T0KEN" not in caplog.text


def _reset(connection: socket.socket, stopping: threading.Event) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_connection_that_is_reset_is_tried_again(light: RelayUnderTest) -> None:
    with RawServer(_reset) as server:
        light.add("ops", server.url())
        (delivery,) = light.enqueue()
        with light.running():
            detail = light.wait_for_attempts(delivery, 1)

    assert detail.record.state is DeliveryState.PENDING
    assert detail.record.due_at == T0 + 5 * SECOND
    assert detail.attempts[0].status is None


def test_an_expired_certificate_is_tried_again(light: RelayUnderTest, certificates: Certificates) -> None:
    with RecordingServer(tls=certificates.expired) as server:
        light.add("ops", server.url())
        light.webhooks["ops"] = replace(light.webhooks["ops"], ca_bundle=certificates.bundle)
        (delivery,) = light.enqueue()
        with light.running():
            detail = light.wait_for_attempts(delivery, 1)

    assert detail.record.due_at == T0 + 5 * SECOND
    assert "certificate" in (detail.attempts[0].error or "")
    assert server.requests == []


@pytest.mark.parametrize("status", [302, 400, 401, 404])
def test_whatever_is_no_success_is_tried_again(light: RelayUnderTest, status: int) -> None:
    with RecordingServer(Answer(status, (("Location", "http://127.0.0.1:9/"),))) as server:
        light.add("ops", server.url())
        (delivery,) = light.enqueue()
        with light.running():
            record = light.wait_for_attempts(delivery, 1).record

    assert (record.state, record.due_at, record.last_status) == (DeliveryState.PENDING, T0 + 5 * SECOND, status)


# Webhooks that can't be had


def test_a_webhook_that_is_gone_fails_by_the_schedule_without_http_and_works_once_it_is_back(
    light: RelayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_webhook_notify.relay_attempts.KEPT", -1.0)
    with RecordingServer() as server:
        (delivery,) = light.enqueue()
        with light.running():
            detail = light.wait_for_attempts(delivery, 1)
            light.add("ops", server.url())
            light.clock.now += 5 * SECOND
            server.wait_for(1)
            light.wait_for_all()

    assert detail.attempts[0].error == "Connection 'ops': does not exist"
    assert detail.record.due_at == T0 + 5 * SECOND


# Pauses


def test_410_pauses_the_webhook_and_what_waits_goes_out_once_it_is_resumed(
    box: RelayUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    with RecordingServer(410, 200) as server:
        box.add("ops", server.url())
        (first,) = box.enqueue()
        with box.running() as relay:
            until(lambda: "ops" in box.outbox.webhook_states())
            (second,) = box.enqueue()
            (ping,) = box.enqueue(manual=True)
            relay.wake()
            box.wait_for_attempts(ping, 1)
            assert box.outbox.webhook_states()["ops"].paused_reason == "the endpoint answered 410 Gone"
            assert box.state(first) is box.state(second) is DeliveryState.PENDING
            assert box.outbox.resume("ops", now=box.clock())
            box.clock.now += SECOND
            relay.wake()
            box.wait_for_all()
            requests = server.wait_for(4)

    assert event_ids(requests[:2]) == [first.event.id, ping.event.id]
    assert sorted(map(str, event_ids(requests[2:]))) == sorted([first.event.id, second.event.id])
    assert "`airflow webhooks resume ops`" in caplog.text


# Beside each other


def _hang(connection: socket.socket, stopping: threading.Event) -> None:
    read_request(connection)
    stopping.wait(PATIENCE)


def test_a_dead_endpoint_does_not_hold_up_a_healthy_one(box: RelayUnderTest) -> None:
    with RecordingServer() as healthy, RawServer(_hang) as dead, ExitStack() as stack:
        box.add("healthy", healthy.url())
        for number in range(5):
            box.add(f"dead-{number}", dead.url())
            box.enqueue(20, webhook_id=f"dead-{number}")
        box.enqueue(100, webhook_id="healthy")
        relay = stack.enter_context(box.running(replace(SETTINGS, in_flight=8)))
        healthy.wait_for(100)
        # Of each dead one a single attempt began, since none is known to work.
        assert dead.connections == 5
        relay.stop(grace=0)


@pytest.mark.parametrize("count", [2, 4])
def test_relays_on_one_outbox_deliver_each_event_once(box: RelayUnderTest, count: int) -> None:
    with RecordingServer(Answer(delay=0.005)) as server, ExitStack() as stack:
        box.add("ops", server.url())
        made = box.enqueue(300)
        for _ in range(count):
            stack.enter_context(box.running())
        box.wait_for_all()

    assert Counter(event_ids(server.requests)) == Counter(delivery.event.id for delivery in made)


def test_a_webhook_never_gets_more_at_once_than_its_cap(light: RelayUnderTest) -> None:
    with RecordingServer(Answer(delay=0.005)) as server:
        light.add("ops", server.url())
        light.enqueue(100)
        with light.running(replace(SETTINGS, in_flight_per_webhook=3)):
            light.wait_for_all()

    assert server.connections <= 3


# Stopping


def test_stop_ends_what_is_in_flight_and_gives_the_rest_back(box: RelayUnderTest) -> None:
    with RecordingServer(200, Answer(delay=0.3)) as server:
        box.add("ops", server.url())
        box.enqueue(20)
        with box.running(replace(SETTINGS, in_flight=1)) as relay:
            server.wait_for(3)
            relay.stop()
        sent = set(event_ids(server.requests))

    left = box.outbox.claim(now=box.clock(), lease=1000, limit=100, capacity=lambda _: 100)
    assert box.outbox.counts()["ops"].delivered == len(server.requests) == len(sent)
    assert len(left) == 20 - len(sent)
    assert not sent & {claim.delivery.event.id for claim in left}


def test_stop_leaves_behind_what_outlasts_its_grace(light: RelayUnderTest) -> None:
    with RecordingServer(Answer(delay=PATIENCE)) as server:
        light.add("ops", server.url())
        (delivery,) = light.enqueue()
        with light.running() as relay:
            server.wait_for(1)
            relay.stop(grace=0.1)
            record = light.detail(delivery).record

    assert record.state is DeliveryState.PENDING
    assert record.leased_until == T0 + 60 * SECOND


def test_a_relay_that_runs_alone_ends_when_it_is_asked_to_finish(light: RelayUnderTest, client: Client) -> None:
    with RecordingServer() as server:
        light.add("ops", server.url())
        light.enqueue()
        alone = Relay(light.outbox, client, settings=SETTINGS, webhook_of=light.webhook_of, clock=light.clock)
        thread = threading.Thread(target=alone.run)
        thread.start()
        light.wait_for_all()
        alone.finish()
        thread.join(PATIENCE)

    assert not thread.is_alive()


# Faults


def test_the_result_of_a_relay_whose_lease_ended_is_refused(
    box: RelayUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with RecordingServer(Answer(500, delay=1.0), 200) as server:
        box.add("ops", server.url())
        (delivery,) = box.enqueue()
        with box.running():
            server.wait_for(1)
            box.clock.now += 61 * SECOND
            with box.running():
                requests = server.wait_for(2)
                box.wait_for_all()
            until(lambda: "was refused" in caplog.text)

    assert event_ids(requests) == [delivery.event.id] * 2
    detail = box.detail(delivery)
    assert detail.record.state is DeliveryState.DELIVERED
    assert [(attempt.number, attempt.status) for attempt in detail.attempts] == [(1, 200)]


def test_a_clock_that_is_set_back_an_hour_sends_nothing_twice_and_loses_nothing(box: RelayUnderTest) -> None:
    with RecordingServer(Answer(delay=0.2), 200) as server:
        box.add("ops", server.url())
        (before,) = box.enqueue()
        with box.running() as relay:
            server.wait_for(1)
            box.clock.now -= HOUR
            (after,) = box.enqueue()
            relay.wake()
            box.wait_for_all()

    assert sorted(map(str, event_ids(server.requests))) == sorted([before.event.id, after.event.id])


def test_a_database_that_is_locked_is_waited_for_and_told_once(
    light: RelayUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with RecordingServer(Answer(delay=0.2)) as server:
        light.add("ops", server.url())
        (delivery,) = light.enqueue()
        with light.running():
            server.wait_for(1)
            with light.outbox.engine.connect() as other:
                other.exec_driver_sql("BEGIN EXCLUSIVE")
                until(lambda: "The relay waits" in caplog.text)
                other.exec_driver_sql("ROLLBACK")
            light.wait_for_attempts(delivery, 1)
            until(lambda: "The relay goes on" in caplog.text)

    assert event_ids(server.requests) == [delivery.event.id]
    assert caplog.text.count("The relay waits") == 1


def test_an_outbox_that_was_never_migrated_is_waited_for_and_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    request.addfinalizer(engine.dispose)
    box = RelayUnderTest(Outbox(engine))
    with RecordingServer() as server:
        box.add("ops", server.url())
        with box.running():
            until(lambda: "run `airflow db migrate`" in caplog.text)
            metadata.create_all(engine)
            box.enqueue()
            server.wait_for(1)

    assert caplog.text.count("airflow db migrate") == 1


def test_a_response_that_the_database_refuses_keeps_no_result_from_it(light: RelayUnderTest) -> None:
    with RecordingServer(Answer(body=b"odd"), Answer(body=b"fine")) as server:
        light.add("ops", server.url())
        first, *others = light.enqueue(4)
        with light.outbox.engine.begin() as connection:
            connection.execute(
                text(
                    "CREATE TRIGGER refuse BEFORE INSERT ON webhook_notify_attempt "
                    "WHEN NEW.response = 'odd' BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
            )
        with light.running():
            light.wait_for_all()

    assert [light.detail(delivery).attempts[0].response for delivery in (first, *others)] == ["", *["fine"] * 3]
    assert len(server.requests) == 4


def test_what_is_older_than_the_retention_is_deleted(light: RelayUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "MEASURE_EVERY", 0.0)
    with RecordingServer() as server:
        light.add("ops", server.url())
        (old,) = light.enqueue()
        with light.running():
            light.wait_for_all()
        light.clock.now += 31 * DAY
        (new,) = light.enqueue()
        with light.running():
            until(lambda: light.outbox.delivery(old.id) is None)
            server.wait_for(2)

    assert light.state(new) is DeliveryState.DELIVERED
