"""A webhook's health and a resumed webhook's pace, by value.

Invariant: no clock and no database.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_webhook_notify.outbox import health
from airflow_webhook_notify.outbox.pace import Pace, pace_at
from airflow_webhook_notify.outbox.records import WebhookStatus

NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("before", "outcomes", "failing_since", "last_success_at"),
    [
        (WebhookStatus("w"), [], None, None),
        (WebhookStatus("w"), [True], None, NOW),
        (WebhookStatus("w"), [False, False], NOW, None),
        (WebhookStatus("w"), [False, True], None, NOW),
        (WebhookStatus("w"), [True, False], NOW, NOW),
        (WebhookStatus("w", failing_since=7), [False], 7, None),
        (WebhookStatus("w", failing_since=7), [True], None, NOW),
        (WebhookStatus("w", last_success_at=NOW - 9_999), [True], None, NOW - 9_999),
        (WebhookStatus("w", last_success_at=NOW - 10_000), [True], None, NOW),
        (WebhookStatus("w", last_success_at=NOW - 1, failing_since=NOW), [True], None, NOW),
        (WebhookStatus("w", last_success_at=NOW + 3_600_000), [True], None, NOW),
    ],
)
def test_health(
    before: WebhookStatus, outcomes: list[bool], failing_since: int | None, last_success_at: int | None
) -> None:
    status = health.after(before, outcomes, now=NOW)
    assert (status.failing_since, status.last_success_at) == (failing_since, last_success_at)


def test_patience_ends_after_five_days() -> None:
    since = NOW - 5 * 24 * 3600 * 1000
    assert health.exhausted_patience(WebhookStatus("w"), now=NOW) is None
    assert health.exhausted_patience(WebhookStatus("w", failing_since=since + 1), now=NOW) is None
    reason = health.exhausted_patience(WebhookStatus("w", failing_since=since), now=NOW)
    assert reason == "no delivery succeeded for 5 days"


@pytest.mark.parametrize(
    ("used_until", "rate", "pace"),
    [
        (None, 20, Pace(20, NOW - 1000, 50)),
        (NOW - 1000, 20, Pace(20, NOW - 1000, 50)),
        (NOW - 3_600_000, 20, Pace(20, NOW - 1000, 50)),
        (NOW - 120, 20, Pace(2, NOW - 120, 50)),
        (NOW, 20, Pace(0, NOW, 50)),
        # The clock was set back by an hour.
        (NOW + 3_600_000, 20, Pace(20, NOW - 1000, 50)),
        (NOW - 9_999, 0.1, Pace(0, NOW - 9_999, 10_000)),
        (NOW - 10_000, 0.1, Pace(1, NOW - 10_000, 10_000)),
        (None, 0.1, Pace(1, NOW - 10_000, 10_000)),
    ],
)
def test_pace(used_until: int | None, rate: float, pace: Pace) -> None:
    assert pace_at(used_until, now=NOW, rate=rate) == pace


def test_what_went_uses_the_rate_up() -> None:
    assert pace_at(NOW - 120, now=NOW, rate=20).after(2) == NOW - 20


def test_the_records_need_no_database_library() -> None:
    program = "import sys, airflow_webhook_notify.outbox.records as r; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
