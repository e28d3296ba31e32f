"""Databases, relays and their endpoint, for measurements.

Invariant: a relay that is measured against others runs in a process of its own, as they do in production.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine

from airflow_webhook_notify.client import Client
from airflow_webhook_notify.models import Webhook
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.outbox.tables import metadata
from airflow_webhook_notify.relay import Relay
from airflow_webhook_notify.relay_settings import ALONE, RelaySettings
from tests.bench.endpoint import BenchEndpoint
from tests.bench.outbox import make_delivery, now
from tests.postgres import PostgresServer, find_binaries
from tests.sending import LOOPBACK, make_webhook

DATABASES = ("PostgreSQL", "SQLite")
#: How long anything may take, in seconds.
PATIENCE = 300.0


def make_engine(url: str) -> Engine:
    """Return an engine, set up as Airflow sets up its own."""
    if not url.startswith("sqlite"):
        return create_engine(url, executemany_mode="values_plus_batch", pool_pre_ping=True)
    engine = create_engine(url, pool_pre_ping=True)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA journal_mode=WAL"))
    return engine


class Databases:
    """Makes empty outboxes."""

    def __init__(self, folder: Path) -> None:
        # PostgreSQL's user has to get in.
        folder.chmod(0o755)
        self._folder, self._made = folder, 0
        self.server = PostgresServer.start(folder / "postgres", binaries=find_binaries() or Path())

    def make(self, kind: str) -> str:
        """Return the URL of a new outbox."""
        self._made += 1
        name = f"bench{self._made}"
        url = self.server.create_database(name) if kind == "PostgreSQL" else f"sqlite:///{self._folder / name}.db"
        engine = make_engine(url)
        metadata.create_all(engine)
        engine.dispose()
        return url


@contextlib.contextmanager
def databases() -> Iterator[Databases]:
    """Give a maker of outboxes."""
    with tempfile.TemporaryDirectory() as folder:
        made = Databases(Path(folder))
        try:
            yield made
        finally:
            made.server.stop()


@dataclass
class Scene:
    """One outbox and where its webhooks lead."""

    outbox: Outbox
    webhooks: dict[str, Webhook]
    made: int = 0

    def enqueue(self, count: int, webhook_id: str = "ops") -> list[str]:
        """Take deliveries in, in one transaction, and return their events' ids."""
        deliveries = [make_delivery(self.made + number, webhook_id) for number in range(count)]
        self.made += count
        with self.outbox.engine.begin() as connection:
            self.outbox.enqueue_in(connection, deliveries, now=now())
        return [delivery.event.id for delivery in deliveries]

    @contextlib.contextmanager
    def relay(self, settings: RelaySettings = RelaySettings()) -> Iterator[Relay]:  # noqa: B008 - frozen
        """Run a relay in this process."""
        with Client(allowed_networks=LOOPBACK) as client:
            relay = Relay(self.outbox, client, settings=settings, webhook_of=self.webhooks.__getitem__)
            relay.start()
            try:
                yield relay
            finally:
                relay.stop(grace=0)


@contextlib.contextmanager
def scene(url: str, **endpoints: str) -> Iterator[Scene]:
    """Give the outbox at a URL, with webhooks by id."""
    engine = make_engine(url)
    try:
        yield Scene(Outbox(engine), {name: make_webhook(endpoint) for name, endpoint in endpoints.items()})
    finally:
        engine.dispose()


def _run_relay(url: str, endpoint: str) -> None:
    with scene(url, ops=endpoint) as here, here.relay(replace(RelaySettings(), poll=ALONE)):
        while True:
            time.sleep(1)


@contextlib.contextmanager
def relay_processes(count: int, url: str, endpoint: str) -> Iterator[list[psutil.Process]]:
    """Run relays, each in a process of its own, and return once all of them look at the outbox."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_run_relay, args=(url, endpoint), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        found = [psutil.Process(process.pid) for process in processes]
        while not all(each.num_threads() > 1 for each in found):
            time.sleep(0.05)
        time.sleep(1)
        yield found
    finally:
        for process in processes:
            process.kill()
            process.join()


def wait_for(endpoint: BenchEndpoint, count: int) -> None:
    """Return once so many requests have arrived.

    :raises TimeoutError: where they do not
    """
    end = time.monotonic() + PATIENCE
    while endpoint.count < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{endpoint.count} of {count} requests came")
        time.sleep(0.02)
