"""What becomes of deliveries when relays and databases die."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from airflow_webhook_notify.models import DeliveryState
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.outbox.tables import metadata
from tests.integration.outboxes import DATABASES, make_engine, make_url
from tests.integration.relay_process import LEASE, RelayProcesses
from tests.integration.relays import SETTINGS, RelayUnderTest, until
from tests.postgres import PostgresServer, find_binaries
from tests.servers import Answer, RecordingServer

DELIVERIES, KILLS = 3000, 30
#: How many requests of a relay that was killed may arrive after the kill was noted.
UNDER_WAY = 64


class WallClock:
    """Milliseconds since the epoch."""

    def __call__(self) -> int:
        return int(time.time() * 1000)


@dataclass
class Scene:
    """An outbox at a URL that other processes can reach."""

    url: str
    box: RelayUnderTest


@pytest.fixture(params=DATABASES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """One on each database."""
    url = make_url(request.param, request, tmp_path)
    engine = make_engine(url)
    metadata.create_all(engine)
    yield Scene(url, RelayUnderTest(Outbox(engine), clock=WallClock()))  # type: ignore[arg-type]
    engine.dispose()


def test_nothing_is_lost_however_often_a_relay_is_killed(scene: Scene, tmp_path: Path) -> None:
    chance, kills = random.Random(17), []  # noqa: S311 - the same moments in every run
    with RecordingServer(Answer(delay=0.01)) as server:
        made = scene.box.enqueue(DELIVERIES)
        with RelayProcesses(scene.url, server.url(), tmp_path / "relays.log") as relays:
            for _ in range(KILLS):
                begun = len(server.requests)
                pid = relays.start()
                server.wait_for(begun + 1)
                threading.Event().wait(chance.uniform(0, 0.2))
                os.kill(pid, signal.SIGKILL)
                kills.append(len(server.requests))
            relays.start()
            scene.box.wait_for_all(patience=60)
        arrived = [request.header("webhook-id") or "" for request in server.requests]

    assert kills[-1] < DELIVERIES, "every kill hits a relay that has something to do"
    assert set(arrived) == {delivery.event.id for delivery in made}
    unexplained = [pair for pair in repeats(arrived) if not any(between(pair, kill) for kill in kills)]
    assert unexplained == []
    print(f"{KILLS} kills within {kills[-1]} of {DELIVERIES} deliveries, {len(arrived) - DELIVERIES} arrived twice")


def repeats(arrived: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Return the places of each event's consecutive arrivals."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, event_id in enumerate(arrived):
        places[event_id].append(place)
    for found in places.values():
        yield from itertools.pairwise(found)


def between(pair: tuple[int, int], kill: int) -> bool:
    """Whether a relay was killed after the first arrival and before the second."""
    return pair[0] <= kill + UNDER_WAY and kill <= pair[1]


def test_the_result_of_a_relay_that_slept_past_its_lease_is_refused(scene: Scene, tmp_path: Path) -> None:
    log = tmp_path / "relays.log"
    with RecordingServer(Answer(500, delay=0.5), 200) as server:
        (delivery,) = scene.box.enqueue()
        with RelayProcesses(scene.url, server.url(), log) as relays:
            sleeper = relays.start()
            server.wait_for(1)
            os.kill(sleeper, signal.SIGSTOP)
            relays.start()
            server.wait_for(2, timeout=LEASE + 10)
            scene.box.wait_for_all()
            os.kill(sleeper, signal.SIGCONT)
            until(lambda: f"{sleeper} The result of attempt 1 of delivery {delivery.id}" in log.read_text())

    assert [request.header("webhook-id") for request in server.requests] == [delivery.event.id] * 2
    detail = scene.box.detail(delivery)
    assert detail.record.state is DeliveryState.DELIVERED
    assert [(attempt.number, attempt.status) for attempt in detail.attempts] == [(1, 200)]


def test_a_relay_ends_cleanly_on_sigterm(scene: Scene, tmp_path: Path) -> None:
    with RecordingServer(Answer(delay=0.01)) as server:
        made = scene.box.enqueue(300)
        with RelayProcesses(scene.url, server.url(), tmp_path / "relays.log") as relays:
            pid = relays.start()
            server.wait_for(20)
            os.kill(pid, signal.SIGTERM)
            until(lambda: is_gone(pid))
        claims = scene.box.outbox.claim(now=scene.box.clock(), lease=1000, limit=1000, capacity=lambda _: 1000)

    sent = [request.header("webhook-id") for request in server.requests]
    left = [claim.delivery.event.id for claim in claims]
    assert sorted([*map(str, sent), *left]) == sorted(delivery.event.id for delivery in made)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, waited for or not."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def test_a_database_that_is_restarted_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    server = PostgresServer.start(tmp_path / "postgres", binaries=binaries)
    engine = make_engine(server.create_database("outbox"))
    metadata.create_all(engine)
    box = RelayUnderTest(Outbox(engine), clock=WallClock())  # type: ignore[arg-type]
    try:
        with RecordingServer(Answer(delay=0.01)) as endpoint:
            box.add("ops", endpoint.url())
            made = box.enqueue(500)
            with box.running(replace(SETTINGS, lease=5.0)):
                endpoint.wait_for(100)
                server = server.restarted()
                box.wait_for_all(patience=30)
    finally:
        engine.dispose()
        server.stop()

    assert {request.header("webhook-id") for request in endpoint.requests} == {delivery.event.id for delivery in made}
    assert caplog.text.count("The relay waits") <= 1
