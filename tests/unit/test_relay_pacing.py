"""How many attempts a webhook gets at the same time, and when one may still begin."""

from __future__ import annotations

import pytest

from airflow_webhook_notify.relay_pacing import FEW, HANDFUL, MOST_AHEAD, Margin, Pace

MOST = 32


def after(pace: Pace, *outcomes: bool, duration: float = 0.1) -> Pace:
    for succeeded in outcomes:
        pace = pace.after(succeeded=succeeded, duration=duration, most=MOST)
    return pace


def test_a_webhook_that_nobody_knows_gets_one_attempt_and_nothing_ahead() -> None:
    assert Pace().doubtful
    assert Pace().width(most=MOST) == 1
    assert Pace().hold(most=MOST) == 1


def test_a_webhook_that_never_succeeded_gets_few() -> None:
    assert after(Pace(), False).width(most=MOST) == FEW
    assert after(Pace(), *[False] * 100).hold(most=MOST) == FEW


def test_each_success_allows_one_more_up_to_the_cap() -> None:
    pace, widths = Pace(), []
    for _ in range(40):
        pace = after(pace, True)
        widths.append(pace.width(most=MOST))

    assert widths[:5] == [3, 4, 5, 6, 7]
    assert widths[-1] == MOST


def test_a_failure_halves_what_it_gets_and_a_streak_leaves_few() -> None:
    grown = after(Pace(), *[True] * 40)

    assert [after(grown, *[False] * count).width(most=MOST) for count in range(6)] == [32, 16, 8, 4, FEW, FEW]
    assert after(grown, *[False] * 4).doubtful
    assert after(grown, *[False] * 4).failures == 4


def test_one_success_ends_the_doubt() -> None:
    failing = after(Pace(), *[True] * 40, *[False] * 9)
    recovered = after(failing, True)

    assert not recovered.doubtful
    assert recovered.failures == 0
    assert recovered.width(most=MOST) == FEW + 1


@pytest.mark.parametrize(("duration", "width"), [(0.0005, HANDFUL), (0.01, 5), (0.02, 10), (0.1, MOST), (15.0, MOST)])
def test_an_endpoint_gets_as_many_as_its_answers_take_time(duration: float, width: int) -> None:
    assert after(Pace(), *[True] * 100, duration=duration).width(most=MOST) == width


def test_one_slow_answer_of_a_fast_endpoint_hardly_counts() -> None:
    fast = after(Pace(), *[True] * 100, duration=0.001)

    assert after(fast, True, duration=0.05).duration == pytest.approx(0.0059)


@pytest.mark.parametrize(("duration", "hold"), [(0.0001, HANDFUL + MOST_AHEAD), (0.1, 32 + 160), (5.0, 32 + 4)])
def test_half_a_second_of_work_is_claimed_ahead(duration: float, hold: int) -> None:
    assert after(Pace(), *[True] * 100, duration=duration).hold(most=MOST) == hold


def test_a_cap_of_one_is_kept_by_all() -> None:
    for pace in (Pace(), after(Pace(), True), after(Pace(), *[True] * 50), after(Pace(), False)):
        assert pace.width(most=1) == 1


@pytest.mark.parametrize(
    ("remaining", "timeout", "limit"),
    [
        (60.0, 15.0, 57.0),
        (18.0, 15.0, 15.0),
        (17.9, 15.0, None),
        (-1.0, 0.1, None),
        # A timeout that no lease can hold: a fresh lease still gives most of itself, an old one is given back.
        (60.0, 300.0, 57.0),
        (40.0, 300.0, None),
    ],
)
def test_an_attempt_begins_only_where_it_ends_before_its_lease(
    remaining: float, timeout: float, limit: float | None
) -> None:
    assert Margin(lease=60.0).limit(remaining=remaining, timeout=timeout) == limit


def test_the_shortest_lease_leaves_half_a_second_for_the_result() -> None:
    assert Margin(lease=5.0).limit(remaining=5.0, timeout=15.0) == 4.5
