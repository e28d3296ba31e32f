"""What a webhook's attempts say of its health.

Invariant: pure; attempts that a person asked for are left out before they get here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from airflow_webhook_notify.outbox.records import WebhookStatus

DAY = 24 * 3600 * 1000
#: A webhook without one success for so long, in milliseconds (5 days), is paused.
PAUSE_AFTER = 5 * DAY
#: How old `last_success_at` may grow before it is written again, in milliseconds: it need not cost every batch a write.
REFRESH_AFTER = 10_000


def after(status: WebhookStatus, outcomes: Iterable[bool], *, now: int) -> WebhookStatus:
    """Return a webhook's state after attempts, in the order they were made; True for one that succeeded."""
    for succeeded in outcomes:
        status = _after_success(status, now) if succeeded else _after_failure(status, now)
    return status


def exhausted_patience(status: WebhookStatus, *, now: int) -> str | None:
    """Return why a webhook is to be paused; None where it is not."""
    if status.failing_since is None or status.failing_since > now - PAUSE_AFTER:
        return None
    return f"no delivery succeeded for {PAUSE_AFTER // DAY} days"


def _after_success(status: WebhookStatus, now: int) -> WebhookStatus:
    fresh = status.last_success_at is not None and abs(now - status.last_success_at) < REFRESH_AFTER
    if fresh and status.failing_since is None:
        return status
    return replace(status, failing_since=None, last_success_at=now)


def _after_failure(status: WebhookStatus, now: int) -> WebhookStatus:
    return status if status.failing_since is not None else replace(status, failing_since=now)
