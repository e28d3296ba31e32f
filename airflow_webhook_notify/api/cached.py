"""Webhooks, read again every few seconds.

Invariant: what a caller gets is never older than the limit, and a webhook that can't be read is no webhook.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import Webhook

_MOST = 1000


class Cached:
    """Keeps each webhook for so many seconds. Thread-safe.

    :param webhook_of: reads a webhook; raises ConfigurationError where there is none
    :param clock: seconds of a clock that never goes back
    """

    def __init__(
        self, webhook_of: Callable[[str], Webhook], *, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._webhook_of = webhook_of
        self._seconds = seconds
        self._clock = clock
        self._kept: dict[str, tuple[float, Webhook | None]] = {}
        self._lock = threading.Lock()

    def get(self, conn_id: str) -> Webhook | None:
        """Return the webhook; None where there is none that can be used."""
        with self._lock:
            until, webhook = self._kept.get(conn_id, (0.0, None))
        return webhook if self._clock() < until else self.fresh(conn_id)

    def fresh(self, conn_id: str) -> Webhook | None:
        """Return the webhook as it is now; None where there is none that can be used."""
        try:
            webhook = self._webhook_of(conn_id)
        except ConfigurationError:
            webhook = None
        with self._lock:
            if len(self._kept) >= _MOST:
                # Whoever asks for names that do not exist must not fill the memory.
                self._kept.clear()
            self._kept[conn_id] = (self._clock() + self._seconds, webhook)
        return webhook
