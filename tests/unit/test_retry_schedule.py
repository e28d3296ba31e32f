"""What becomes of a delivery after an attempt, by value.

Invariant: no clock is read and nothing is random here.
"""

from __future__ import annotations

import pytest

from airflow_webhook_notify.config import RETRY_SCHEDULE
from airflow_webhook_notify.retry import MAX_RETRY_AFTER, Disposition, Schedule, dispose, parse_schedule

NOW = 1_700_000_000_000
SCHEDULE = Schedule((5, 300))


def test_the_default_is_ten_attempts_in_three_days() -> None:
    assert parse_schedule(RETRY_SCHEDULE.default) == Schedule()
    assert len(Schedule().delays) == 9
    assert sum(Schedule().delays) == 75 * 3600 + 35 * 60 + 5


@pytest.mark.parametrize(
    ("text", "delays"),
    [("5", (5.0,)), (" 5, 0.5 ,2592000", (5.0, 0.5, 2592000.0)), (",".join(["1"] * 100), (1.0,) * 100)],
)
def test_a_schedule_is_a_list_of_seconds(text: str, delays: tuple[float, ...]) -> None:
    assert parse_schedule(text).delays == delays


@pytest.mark.parametrize("text", ["", ",", "5,", "5;300", "soon", "0", "-5", "5,0.09", "2592001", "inf", "nan", "5m"])
def test_what_is_no_schedule_says_what_to_put_there(text: str) -> None:
    with pytest.raises(ValueError, match="separated by commas, such as 5,300,1800"):
        parse_schedule(text)


def test_a_schedule_has_an_end() -> None:
    with pytest.raises(ValueError, match="at most 100"):
        parse_schedule(",".join(["1"] * 101))


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert dispose(SCHEDULE, step=99, status=status, now=NOW, retry_after=60) == Disposition(delivered=True)


@pytest.mark.parametrize("status", [None, 100, 199, 300, 302, 400, 404, 429, 500, 503])
@pytest.mark.parametrize(("step", "wait"), [(1, 5_000), (2, 300_000)])
def test_all_else_is_tried_again(status: int | None, step: int, wait: int) -> None:
    assert dispose(SCHEDULE, step=step, status=status, now=NOW) == Disposition(due_at=NOW + wait)


def test_after_its_schedule_it_is_a_dead_letter() -> None:
    disposition = dispose(SCHEDULE, step=3, status=500, now=NOW, retry_after=60)
    assert disposition == Disposition()
    assert disposition.dead_letter
    assert not Disposition(delivered=True).dead_letter
    assert not Disposition(due_at=NOW).dead_letter


@pytest.mark.parametrize("step", [1, 3, 99])
def test_gone_pauses_and_the_delivery_waits_whatever_its_step(step: int) -> None:
    expected = Disposition(due_at=NOW, pause="the endpoint answered 410 Gone")
    assert dispose(SCHEDULE, step=step, status=410, now=NOW) == expected


@pytest.mark.parametrize(("jitter", "wait"), [(-1.0, 240_000), (-0.5, 270_000), (0.0, 300_000), (1.0, 360_000)])
def test_a_wait_varies_by_a_fifth(jitter: float, wait: int) -> None:
    assert dispose(SCHEDULE, step=2, status=500, now=NOW, jitter=jitter).due_at == NOW + wait


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(0, 5.0), (4.9, 5.0), (60, 60.0), (MAX_RETRY_AFTER, 86400.0), (10**9, 86400.0)]
)
def test_retry_after_is_a_minimum_of_at_most_a_day(retry_after: float, wait: float) -> None:
    assert dispose(SCHEDULE, step=1, status=429, now=NOW, retry_after=retry_after).due_at == NOW + wait * 1000


def test_jitter_does_not_shorten_what_the_endpoint_asked_for() -> None:
    assert dispose(SCHEDULE, step=1, status=503, now=NOW, retry_after=60, jitter=-1).due_at == NOW + 60_000
