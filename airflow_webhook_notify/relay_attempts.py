"""One attempt of a claim, from its webhook's Connection to what becomes of the delivery.

Invariant: whatever goes wrong becomes a failed attempt, whose text holds no credential; and no attempt begins that
could outlast its lease.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_webhook_notify.client import Client
from airflow_webhook_notify.exceptions import ConfigurationError, PayloadError
from airflow_webhook_notify.models import Attempt, Webhook, derived_id
from airflow_webhook_notify.outbox.records import Claim, Result
from airflow_webhook_notify.relay_pacing import Margin
from airflow_webhook_notify.retry import Schedule, dispose

log = logging.getLogger(__name__)

#: For how long a Connection that was read is used before it is read again, in seconds.
KEPT = 3.0


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    webhook: Webhook | None = None
    problem: ConfigurationError | None = None
    read_at: float = float("-inf")


class Webhooks:
    """Webhooks by connection id, kept for a few seconds. Thread-safe; a slow one holds up no other.

    :param read: reads one
    :param monotonic: seconds of a clock that never goes back
    """

    def __init__(self, read: Callable[[str], Webhook], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def get(self, webhook_id: str) -> Webhook:
        """Return the webhook as it was a few seconds ago at most.

        :raises ConfigurationError: where it can't be had
        """
        entry = self._entry(webhook_id)
        with entry.lock:
            if self._monotonic() - entry.read_at > KEPT:
                self._refresh(entry, webhook_id)
            if entry.webhook is None:
                raise entry.problem or ConfigurationError(f"Connection {webhook_id!r}", "can't be read")
            return entry.webhook

    def origin(self, webhook_id: str) -> str:
        """Return the part of its endpoint that may be shown, without reading anything."""
        webhook = self._entry(webhook_id).webhook
        return webhook.origin if webhook else "no endpoint"

    def _entry(self, webhook_id: str) -> _Entry:
        with self._lock:
            return self._entries.setdefault(webhook_id, _Entry())

    def _refresh(self, entry: _Entry, webhook_id: str) -> None:
        entry.webhook = entry.problem = None
        try:
            entry.webhook = self._read(webhook_id)
        except ConfigurationError as error:
            entry.problem = error
        entry.read_at = self._monotonic()


class Attempts:
    """Makes attempts. Thread-safe.

    :param clock: milliseconds since the epoch
    :param jitter: draws a number from -1 to 1
    """

    def __init__(
        self,
        client: Client,
        webhooks: Webhooks,
        *,
        schedule: Schedule,
        margin: Margin,
        clock: Callable[[], int],
        jitter: Callable[[], float],
    ) -> None:
        self._client = client
        self._webhooks = webhooks
        self._schedule = schedule
        self._margin = margin
        self._clock = clock
        self._jitter = jitter

    def make(self, claim: Claim) -> Result | None:
        """Make one attempt and return what becomes of the delivery; None where its lease leaves too little time."""
        try:
            attempt = self._send(claim)
        except (ConfigurationError, PayloadError) as error:
            attempt = self._failed(claim, str(error))
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is retried by the schedule, and seen in the log
            _log_defect(claim, error)
            attempt = self._failed(claim, f"{type(error).__name__} in the relay; see its log")
        return None if attempt is None else self._conclude(claim, attempt)

    def _send(self, claim: Claim) -> Attempt | None:
        webhook = self._webhooks.get(claim.delivery.webhook_id)
        remaining = (claim.expires_at - self._clock()) / 1000
        limit = self._margin.limit(remaining=remaining, timeout=webhook.timeout)
        if limit is None:
            return None
        return self._client.send(webhook, claim.delivery, number=claim.number, limit=limit)

    def _failed(self, claim: Claim, error: str) -> Attempt:
        return Attempt(
            id=derived_id(claim.delivery.id, claim.number),
            delivery_id=claim.delivery.id,
            number=claim.number,
            started_at=self._clock(),
            duration=0.0,
            error=error,
            final=True,
        )

    def _conclude(self, claim: Claim, attempt: Attempt) -> Result:
        disposition = dispose(
            self._schedule,
            step=claim.step,
            status=attempt.status,
            now=self._clock(),
            retry_after=attempt.retry_after,
            jitter=self._jitter(),
        )
        return Result(claim, attempt, disposition)


def _log_defect(claim: Claim, error: Exception) -> None:
    # Not its text, which may quote a URL or a header.
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("An attempt of delivery %s failed by %s:\n%s", claim.delivery.id, type(error).__name__, frames)
