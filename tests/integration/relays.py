"""A relay on an outbox of its own, for tests.

Invariant: its clock stands still unless a test moves it, and it has stopped when its test ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from airflow_webhook_notify.client import Client
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import Delivery, DeliveryState, Webhook
from airflow_webhook_notify.outbox.records import DeliveryDetail
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.relay import Relay
from airflow_webhook_notify.relay_settings import RelaySettings
from airflow_webhook_notify.retry import Schedule
from tests.integration.outboxes import T0, make_delivery
from tests.sending import LOOPBACK, make_webhook
from tests.servers import PATIENCE

SETTINGS = RelaySettings(schedule=Schedule((5, 300)), poll=0.02)


@dataclass
class Clock:
    """Milliseconds since the epoch, as a test wants them."""

    now: int = T0

    def __call__(self) -> int:
        return self.now


@dataclass
class RelayUnderTest:
    """An outbox, webhooks by id, and words for what nearly every test does."""

    outbox: Outbox
    webhooks: dict[str, Webhook] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    made: int = 0

    def add(self, webhook_id: str, url: str) -> None:
        """Define a webhook."""
        self.webhooks[webhook_id] = make_webhook(url)

    def webhook_of(self, webhook_id: str) -> Webhook:
        """Stand in for the Connections."""
        if webhook_id not in self.webhooks:
            raise ConfigurationError(f"Connection {webhook_id!r}", "does not exist")
        return self.webhooks[webhook_id]

    def enqueue(self, count: int = 1, *, webhook_id: str = "ops", manual: bool = False) -> list[Delivery]:
        """Take deliveries in, all of them due now."""
        made = [make_delivery(self.made + number, webhook_id) for number in range(count)]
        self.made += count
        if manual:
            for delivery in made:
                self.outbox.enqueue(delivery, now=self.clock(), manual=True)
        else:
            with self.outbox.engine.begin() as connection:
                self.outbox.enqueue_in(connection, made, now=self.clock())
        return made

    def detail(self, delivery: Delivery) -> DeliveryDetail:
        """Return what the log says of a delivery."""
        found = self.outbox.delivery(delivery.id)
        assert found is not None
        return found

    def state(self, delivery: Delivery) -> DeliveryState:
        """Return where a delivery stands."""
        return self.detail(delivery).record.state

    def wait_for_attempts(self, delivery: Delivery, count: int) -> DeliveryDetail:
        """Return what the log says once so many attempts are in it."""
        until(lambda: len(self.detail(delivery).attempts) >= count)
        return self.detail(delivery)

    def wait_for_all(self, state: DeliveryState = DeliveryState.DELIVERED, *, patience: float = PATIENCE) -> None:
        """Return once nothing is in any other state."""

        def done() -> bool:
            counts = self.outbox.counts().values()
            return self.made == sum(int(getattr(each, state.value)) for each in counts)

        until(done, patience=patience)

    @contextmanager
    def running(self, settings: RelaySettings = SETTINGS) -> Iterator[Relay]:
        """Run a relay."""
        with Client(allowed_networks=LOOPBACK) as client:
            relay = Relay(
                self.outbox,
                client,
                settings=settings,
                webhook_of=self.webhook_of,
                clock=self.clock,
                jitter=lambda: 0.0,
            )
            relay.start()
            try:
                yield relay
            finally:
                relay.stop(grace=PATIENCE)


def until(condition: Callable[[], bool], *, patience: float = PATIENCE) -> None:
    """Return once something is so that nothing tells of.

    :raises AssertionError: where it is not within `patience` seconds
    """
    end = time.monotonic() + patience
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"not within {patience} s"
        pause.wait(0.01)
