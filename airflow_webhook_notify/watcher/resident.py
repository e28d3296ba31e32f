"""The watcher as a thread: it holds the lease, looks, rests, and goes on whatever happens.

Invariant: one thread of its own does all of it, and nothing ends it but `stop`; of any number of watchers one looks.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable

from airflow_webhook_notify import config
from airflow_webhook_notify.connection import list_webhooks
from airflow_webhook_notify.exceptions import OutboxUnavailableError
from airflow_webhook_notify.executions import Sources
from airflow_webhook_notify.outbox.watch import LeaseLostError, Watch
from airflow_webhook_notify.watcher.audience import Listing
from airflow_webhook_notify.watcher.looks import HOUR, Looks, Terms

log = logging.getLogger(__name__)

#: For how long a watcher that was killed keeps the others waiting, and how often the lease is renewed. Milliseconds.
LEASE, RENEW_EVERY = 15_000, 5_000
#: How long it waits before it asks a database again that could not be used, in seconds: at first and at most.
BACK_OFF, LONGEST_BACK_OFF = 0.5, 10.0


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


def read_terms() -> Terms:
    """Return what `airflow.cfg` says of watching.

    :raises ConfigurationError: for an option that can't be used
    """
    return Terms(
        reports=config.FAILURE_REPORTS.read(),
        grace=round(config.GRACE.read() * 1000),
        catch_up=round(config.CATCH_UP.read() * HOUR),
    )


def sources_at(now: int) -> Sources:
    """Return what events are built with in a process that has the metadata database."""
    from airflow.configuration import conf
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    return Sources(
        organization_id=config.organization_id(),
        now=now,
        redact=lambda text, key: str(redact(text, key)),
        base_url=conf.get("api", "base_url", fallback=None) or None,
    )


def make_watcher(*, on_taken: Callable[[], None]) -> Watcher:
    """Return a watcher of Airflow's own metadata database, as `airflow.cfg` says.

    :param on_taken: called after deliveries were handed over, to wake the relay
    :raises ConfigurationError: for an option that can't be used
    """
    return Watcher(Watch(), terms=read_terms(), interval=config.WATCH_INTERVAL.read(), on_taken=on_taken)


class Watcher:
    """Watches, in turn with all the other watchers on the same database.

    :param interval: seconds from one look to the next
    :param on_taken: called after deliveries were handed over, to wake the relay
    :param clock: milliseconds since the epoch
    """

    def __init__(
        self,
        watch: Watch,
        *,
        terms: Terms,
        interval: float = 1.0,
        on_taken: Callable[[], None] = lambda: None,
        listing: Listing = list_webhooks,
        sources: Callable[[int], Sources] = sources_at,
        clock: Callable[[], int] = _milliseconds,
    ) -> None:
        self._watch, self._terms, self._interval = watch, terms, interval
        self._on_taken, self._listing, self._sources, self._clock = on_taken, listing, sources, clock
        self._token = str(uuid.uuid4())
        self._looks: Looks | None = None
        self._renew_at = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: int | None = None
        self._troubled = False

    def start(self) -> None:
        """Begin to watch, in a thread of its own."""
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="webhook watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return once the look that goes on has ended, and let another watcher go on."""
        if self._thread is None or self._process != os.getpid():
            return
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        back_off = BACK_OFF
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                self.turn()
                self._say_better()
                back_off = BACK_OFF
                rest = self._interval - (time.monotonic() - started)
            except OutboxUnavailableError as error:
                self._say_trouble(error)
                rest, back_off = back_off, min(2 * back_off, LONGEST_BACK_OFF)
            except Exception:
                log.exception("webhooks: the watcher met a defect of this package, and goes on")
                rest = LONGEST_BACK_OFF
            self._stopping.wait(max(rest, 0.01))
        self._end()

    def turn(self) -> int:
        """Look once where no other watcher does, and return how many deliveries were handed over."""
        now = self._clock()
        if now >= self._renew_at:
            if not self._watch.take_lease(self._token, now=now, lease=LEASE):
                self._looks = None
                return 0
            self._renew_at = now + RENEW_EVERY
        if self._looks is None:
            self._looks = self._begin()
        try:
            taken = self._looks.look(now)
        except LeaseLostError:
            # Another one has gone on from the mark, so what this one remembers is no longer whole.
            self._looks, self._renew_at = None, 0
            return 0
        if taken:
            self._on_taken()
        return taken

    def _begin(self) -> Looks:
        return Looks(self._watch, token=self._token, listing=self._listing, sources_at=self._sources, terms=self._terms)

    def _say_trouble(self, error: Exception) -> None:
        if not self._troubled:
            log.error("webhooks: the watcher waits, and will catch up: %s", error)
        self._troubled = True

    def _say_better(self) -> None:
        if self._troubled:
            log.info("webhooks: the watcher goes on")
        self._troubled = False

    def _end(self) -> None:
        try:
            self._watch.end_lease(self._token)
        except OutboxUnavailableError as error:
            log.info("webhooks: the watcher's lease ends by itself: %s", error)
