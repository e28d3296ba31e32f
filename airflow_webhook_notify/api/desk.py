"""What the routes of the REST API work with.

Invariant: the clock is one of its parts, and so is what tells the relay that something is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_webhook_notify.outbox.store import Outbox


@dataclass(frozen=True)
class Desk:
    """What the routes work with.

    :param on_due: called after something became due
    :param now: milliseconds since the epoch
    """

    outbox: Outbox = field(default_factory=Outbox)
    on_due: Callable[[], None] = lambda: None
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000
