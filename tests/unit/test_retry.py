"""When something is tried again, by value.

Invariant: no clock is read and nothing is random here.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.taskinstance import TaskInstance

from airflow_webhook_notify.retry import MAX_RETRY_AFTER, DirectSchedule, parse_retry_after
from airflow_webhook_notify.retry_delay import next_retry_at

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("999999999999", MAX_RETRY_AFTER),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("Fri, 02 Jan 2099 03:00:00 GMT", MAX_RETRY_AFTER),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("1" * 100, None),
        ("Fri, 99 Jan 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize(
    ("number", "retry_after", "remaining", "wait"),
    [
        (1, None, 8.0, 0.5),
        (2, None, 8.0, 1.5),
        (3, None, 8.0, None),
        (1, 2.0, 8.0, 2.0),
        (1, 0.1, 8.0, 0.5),
        (1, 9.0, 8.0, None),
        (2, None, 1.5, None),
    ],
)
def test_the_direct_schedule_ends_within_its_deadline(
    number: int, retry_after: float | None, remaining: float, wait: float | None
) -> None:
    assert DirectSchedule().wait_after(number, retry_after=retry_after, remaining=remaining) == wait


@pytest.mark.parametrize("backoff", [0, 1, 2.0, 3.5])
@pytest.mark.parametrize("try_number", [1, 2, 7, 500])
@pytest.mark.parametrize("longest", [None, timedelta(minutes=20)])
def test_the_next_try_is_when_the_scheduler_says(backoff: float, try_number: int, longest: timedelta | None) -> None:
    task = SimpleNamespace(
        retry_delay=timedelta(minutes=5), retry_exponential_backoff=backoff, max_retry_delay=longest, retry_policy=None
    )
    end = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    logical_date = datetime(2026, 1, 1, 12, 30, tzinfo=timezone.utc)
    ti = SimpleNamespace(
        task=task, dag_id="etl", task_id="load", try_number=try_number, logical_date=logical_date, end_date=end,
        retry_delay_override=None, log=SimpleNamespace(warning=lambda _text: None),
    )  # fmt: skip
    asked: Any = TaskInstance.next_retry_datetime
    scheduler = asked(ti)
    ours = next_retry_at(ti, task, {"logical_date": logical_date}, end=int(end.timestamp() * 1000))
    assert ours == int(scheduler.timestamp() * 1000)


def test_a_retry_policy_decides_for_itself() -> None:
    task = SimpleNamespace(retry_delay=timedelta(minutes=5), retry_policy=object())
    assert next_retry_at(SimpleNamespace(try_number=1), task, {}, end=0) is None
