"""Claims what is due, has it sent, and writes down what became of it.

Invariant: one thread of the relay's own works on the outbox and nothing ends it but `stop`; a delivery that is
claimed is recorded, given back, or free again when its lease ends.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from airflow_webhook_notify.client import Client
from airflow_webhook_notify.connection import get_webhook
from airflow_webhook_notify.exceptions import OutboxUnavailableError
from airflow_webhook_notify.models import Webhook
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.relay_attempts import Attempts, Webhooks
from airflow_webhook_notify.relay_ledger import Ledger
from airflow_webhook_notify.relay_pacing import Margin
from airflow_webhook_notify.relay_report import Report
from airflow_webhook_notify.relay_senders import Senders
from airflow_webhook_notify.relay_settings import RelaySettings

log = logging.getLogger(__name__)

#: Results that come within so many seconds are written down together.
GATHER = 0.02
#: The most deliveries that one claim takes, and that a relay holds.
BATCH, HELD = 200, 600
#: How long it waits before it asks a database again that could not be used, in seconds: at first and at most.
BACK_OFF, LONGEST_BACK_OFF = 0.25, 5.0
#: How often the backlog is measured and the delivery log pruned, in seconds, and how many deliveries at once.
MEASURE_EVERY, PRUNE_EVERY, PRUNED = 15.0, 3600.0, 500
DAY = 24 * 3600 * 1000


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


def _draw() -> float:
    return random.uniform(-1, 1)  # noqa: S311 - spreads retries, guards nothing


class Relay:
    """Sends what is in the outbox. Any number of them may work on one outbox.

    :param client: stays the caller's to close, after `stop`
    :param webhook_of: returns the webhook of a connection id, or raises :class:`ConfigurationError`
    :param clock: milliseconds since the epoch
    :param jitter: draws a number from -1 to 1
    """

    def __init__(
        self,
        outbox: Outbox,
        client: Client,
        *,
        settings: RelaySettings,
        webhook_of: Callable[[str], Webhook] = get_webhook,
        clock: Callable[[], int] = _milliseconds,
        jitter: Callable[[], float] = _draw,
    ) -> None:
        webhooks = Webhooks(webhook_of)
        attempts = Attempts(
            client,
            webhooks,
            schedule=settings.schedule,
            margin=Margin(settings.lease),
            clock=clock,
            jitter=jitter,
        )
        self._event = threading.Event()
        self._senders = Senders(
            attempts.make,
            call=self._event.set,
            in_flight=settings.in_flight,
            in_flight_per_webhook=settings.in_flight_per_webhook,
        )
        self._outbox, self._settings, self._clock = outbox, settings, clock
        self._report = Report(webhooks.origin)
        self._ledger = Ledger(outbox, self._senders, self._report, clock=clock)
        self._thread: threading.Thread | None = None
        self._process: int | None = None
        self._woken = self._finishing = self._more = False
        self._deadline: float | None = None
        self._look_at = self._measure_at = 0.0
        self._prune_at = time.monotonic() + MEASURE_EVERY
        self._pruning: Iterator[int] | None = None

    # What its owner calls

    def start(self) -> None:
        """Begin to send, in threads of the relay's own."""
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="webhook relay", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have it look at the outbox now; from any thread, an event loop's too, since it never waits."""
        self._woken = True
        self._event.set()

    def finish(self) -> None:
        """Ask it to stop; from a signal handler too."""
        # Not by the event, whose lock the interrupted code may hold.
        self._finishing = True

    def stop(self, *, grace: float | None = None) -> None:
        """Return once what was being sent has ended and is written down, and the rest is given back.

        :param grace: seconds after which attempts that go on are left behind; their leases end by themselves
        """
        # A process that was forked from the relay's has none of its threads, and its claims are not ours to give back.
        if self._thread is None or self._process != os.getpid():
            return
        self._deadline = None if grace is None else time.monotonic() + grace
        self.finish()
        self._event.set()
        self._thread.join()

    def run(self, *, grace: float | None = None) -> None:
        """Send until `finish` is called, as a process that does nothing else."""
        self.start()
        while not self._finishing:
            time.sleep(self._settings.poll)
        self.stop(grace=grace)

    # The thread

    def _run(self) -> None:
        back_off = BACK_OFF
        while not self._finishing:
            try:
                self._turn()
                back_off = BACK_OFF
            except OutboxUnavailableError as error:
                self._report.unavailable(error, unwritten=self._ledger.unwritten)
                self._rest(back_off)
                back_off = min(2 * back_off, LONGEST_BACK_OFF)
            except Exception:
                log.exception("The relay met a defect of this package, and goes on")
                self._rest(LONGEST_BACK_OFF)
        self._wind_down()

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._finishing and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))

    def _turn(self) -> None:
        self._event.clear()
        woken, self._woken = self._woken, False
        self._ledger.write()
        if woken or time.monotonic() >= self._look_at or (self._more and self._senders.hungry):
            self._look()
            self._report.available()
        self._keep_house()
        self._event.wait(GATHER if self._senders.held else self._settings.poll)

    def _look(self) -> None:
        look_at = time.monotonic() + self._settings.poll
        limit = min(BATCH, HELD - self._senders.held)
        if limit > 0:
            self._claim(limit)
        self._look_at = look_at

    def _claim(self, limit: int) -> None:
        room: dict[str, int] = {}

        def capacity(webhook_id: str) -> int:
            room[webhook_id] = self._senders.room(webhook_id)
            return room[webhook_id]

        claims = self._outbox.claim(
            now=self._clock(),
            lease=round(self._settings.lease * 1000),
            limit=limit,
            capacity=capacity,
            resume_rate=self._settings.resume_rate,
        )
        taken = Counter(claim.delivery.webhook_id for claim in claims)
        # A webhook that got less than it had room for has no more, unless all of them together got all there was.
        more = {name for name, free in room.items() if len(claims) >= limit or taken[name] >= free}
        self._more = bool(more)
        self._senders.submit(claims, more=more)

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now >= self._measure_at:
            self._measure_at = now + MEASURE_EVERY
            self._report.backlog(self._outbox.backlog(), now=self._clock())
        if now >= self._prune_at:
            self._prune()

    def _prune(self) -> None:
        """Delete one batch of what is too old: deliveries never wait for more than that."""
        if self._pruning is None:
            before = self._clock() - round(self._settings.retention * DAY)
            self._pruning = self._outbox.prune(before=before, batch=PRUNED)
        self._prune_at = time.monotonic() + self._settings.poll
        if next(self._pruning, None) is None:
            self._pruning, self._prune_at = None, time.monotonic() + PRUNE_EVERY

    def _wind_down(self) -> None:
        self._senders.withdraw_all()
        while not self._senders.wait_until_quiet(GATHER) and not self._is_over():
            self._try_to_write()
        self._senders.close()
        end = time.monotonic() + LONGEST_BACK_OFF
        while not self._try_to_write() and not self._is_over() and time.monotonic() < end:
            time.sleep(BACK_OFF)

    def _is_over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _try_to_write(self) -> bool:
        try:
            self._ledger.write()
        except OutboxUnavailableError as error:
            self._report.unavailable(error, unwritten=self._ledger.unwritten)
            return False
        except Exception:
            log.exception("The relay met a defect of this package while it stopped")
        return True
