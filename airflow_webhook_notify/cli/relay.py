"""The `relay` command: a relay as a process of its own.

Invariant: it starts only where the outbox and every option of the relay can be used, and a first signal lets it
finish what is in flight.
"""

from __future__ import annotations

import logging
import os
import signal
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from airflow_webhook_notify import config
from airflow_webhook_notify.cli.command import component
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.relay import Relay
from airflow_webhook_notify.relay_settings import ALONE, RelaySettings
from airflow_webhook_notify.watcher.resident import make_watcher

log = logging.getLogger(__name__)


@component
def webhooks_relay(args: Namespace) -> None:  # noqa: ARG001 - every command has it
    """Send what is in the outbox until a signal ends it."""
    # Here, not above: `requests` is only for the commands that send.
    from airflow_webhook_notify.client import Client

    settings = replace(RelaySettings.read(), poll=ALONE)
    outbox, elsewhere = Outbox(), config.RELAY.read() == "internal"
    outbox.check()
    with Client(allowed_networks=config.ALLOWED_NETWORKS.read()) as client:
        relay = Relay(outbox, client, settings=settings)
        with _finishing_on_signals(relay), _watching(relay):
            log.info("The relay runs as process %d: up to %d attempts at once", os.getpid(), settings.in_flight)
            if elsewhere:
                log.info("API servers send too; [webhook_notify] relay = external leaves it to processes like this")
            relay.run()
    log.info("The relay has stopped: what was in flight has ended, the rest is given back")


@contextmanager
def _watching(relay: Relay) -> Iterator[None]:
    """Watch beside the relay; of all watchers one looks at a time."""
    watcher = make_watcher(on_taken=relay.wake)
    watcher.start()
    try:
        yield
    finally:
        watcher.stop()


@contextmanager
def _finishing_on_signals(relay: Relay) -> Iterator[None]:
    """Let the first SIGTERM or Ctrl-C finish the relay, and a second one end the process as if we were not here."""

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's signature
        restore()
        relay.finish()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore()
