"""Why something failed, by value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_webhook_notify.causes import (
    KILLED_TEXT,
    NEVER_BEGAN_TEXT,
    UNKNOWN,
    Cause,
    Kind,
    Report,
    Sign,
    Traces,
    cause_of_run,
    cause_of_task,
    interference,
    is_followed_by_a_try,
    is_marked,
)

REPORT = Report("ti", "ValueError: no", 7)
LOST = Sign("heartbeat timeout", 5, "no heartbeat for 300 s")
RESUMED = "Executor … finished with state success, but the task instance's state attribute is queued."
RETRIED = Sign("up_for_retry", 6)
MARKED, CLEARED = Sign("patch_task_instance", 6), Sign("post_clear_task_instances", 6)


def at(moment: int) -> Report:
    """The report, written then."""
    return replace(REPORT, at=moment)


def cause(state: str = "failed", **known: Any) -> Cause:
    """The cause of a try that ran and said nothing, but for what is known."""
    return cause_of_task(state, Traces(**known))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"report": REPORT}, Cause(Kind.EXCEPTION, "ValueError: no", 7)),
        ({"by_hand": MARKED}, Cause(Kind.MANUAL, "marked failed by hand")),
        ({"by_hand": CLEARED}, Cause(Kind.MANUAL, "cleared by hand while it ran")),
        # What failed before somebody marked it, and what reports that it was ended because it was marked.
        ({"report": at(5), "by_hand": MARKED}, Cause(Kind.EXCEPTION, "ValueError: no", 7)),
        ({"report": at(7), "by_hand": MARKED}, Cause(Kind.MANUAL, "marked failed by hand")),
        ({"report": at(4), "signs": (LOST,)}, Cause(Kind.EXCEPTION, "ValueError: no", 7)),
        ({"report": at(6), "signs": (LOST,)}, Cause(Kind.HEARTBEAT_TIMEOUT, "no heartbeat for 300 s")),
        ({"signs": (LOST, Sign("state mismatch", 6))}, Cause(Kind.HEARTBEAT_TIMEOUT, "no heartbeat for 300 s")),
        (
            {"signs": (Sign("state mismatch", 6, "Executor … attribute is running."),), "reports": False},
            Cause(Kind.KILLED, KILLED_TEXT),
        ),
        # A race of Airflow's own, with a deferred task that is resumed at once.
        ({"signs": (Sign("state mismatch", 6, RESUMED),)}, Cause(Kind.UNKNOWN, RESUMED)),
        ({"signs": (Sign("fail task", 6, "fail_fast"),)}, Cause(Kind.UNKNOWN, "fail_fast")),
        ({"signs": (Sign("failed", 6),)}, Cause(Kind.KILLED, KILLED_TEXT)),
        # Its report comes after that sign.
        ({"signs": (RETRIED,)}, Cause(Kind.KILLED, KILLED_TEXT, settled=False)),
        ({"signs": (Sign("failed", 6),), "began": False}, Cause(Kind.UNKNOWN, NEVER_BEGAN_TEXT)),
        ({"signs": (RETRIED,), "began": False}, Cause(Kind.UNKNOWN, NEVER_BEGAN_TEXT, settled=False)),
        ({"reports": False}, UNKNOWN),
        ({"ran": False}, UNKNOWN),
    ],
)
def test_the_cause_of_a_failed_try_is_what_says_most(known: dict[str, Any], expected: Cause) -> None:
    assert cause(**known) == expected


def test_upstream_failed_has_one_cause() -> None:
    assert cause("upstream_failed", ran=False) == Cause(Kind.UPSTREAM_FAILED, "an upstream task failed")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"marked": True, "timed_out": True, "first": UNKNOWN}, Cause(Kind.MANUAL, "marked failed by hand")),
        ({"marked": False, "timed_out": True, "first": UNKNOWN}, Cause(Kind.RUN_TIMEOUT, "timed_out")),
        (
            {"marked": False, "timed_out": False, "first": Cause(Kind.KILLED, "x", 3)},
            Cause(Kind.KILLED, "task_failure"),
        ),
        ({"marked": False, "timed_out": False, "first": None}, UNKNOWN),
    ],
)
def test_the_cause_of_a_failed_run(known: dict[str, Any], expected: Cause) -> None:
    assert cause_of_run(**known) == expected


@pytest.mark.parametrize(
    ("signs", "try_number", "followed"),
    [
        # Taken back by a scheduler, from one that had died.
        ([], 1, True),
        ([], 3, True),
        ([Sign("up_for_retry", 90)], 1, True),
        ([Sign("fail task", 90)], 1, False),
        ([Sign("failed", 90), Sign("stuck in queued tries exceeded", 90)], 1, True),
        ([Sign("failed", 90), Sign("stuck in queued tries exceeded", 90)], 3, False),
        # Marked failed, and cleared after that.
        ([Sign("patch_task_instance", 99, task_id="load"), Sign("clear_dag_run", 101)], 1, False),
        ([Sign("patch_task_instance", 99, task_id="other")], 1, True),
        # A task that fails for good although it has tries left (AirflowFailException).
        ([Sign("failed", 90)], 1, False),
        # The scheduler's own row, which it writes before it decides.
        ([Sign("failed", 90), Sign("state mismatch", 90)], 1, True),
        ([Sign("failed", 90), Sign("heartbeat timeout", 90)], 3, False),
        # Cleared while it ran, with no try left: its end is the moment of the clearing.
        ([Sign("post_clear_task_instances", 99)], 3, True),
        # Cleared long after it had failed.
        ([Sign("post_clear_task_instances", 101), Sign("failed", 90)], 3, False),
    ],
)
def test_a_try_in_the_history_was_final_or_not(signs: list[Sign], try_number: int, followed: bool) -> None:
    told = is_followed_by_a_try(signs, task_id="load", ended_at=100, try_number=try_number, max_tries=2)
    assert told is followed


@pytest.mark.parametrize(
    ("sign", "task_id", "marked"),
    [
        (Sign("patch_task_instance", 99, task_id="load"), "load", True),
        (Sign("patch_task_instance", 99, task_id="load"), "other", False),
        (Sign("patch_dag_run", 99), "load", True),
        (Sign("patch_dag_run", 99), None, True),
        (Sign("patch_dag_run", 101), None, False),
        (Sign("patch_dag_run", 100 - 61_000), None, False),
        (Sign("clear_dag_run", 99), None, False),
    ],
)
def test_a_mark_by_hand_is_near_the_change(sign: Sign, task_id: str | None, marked: bool) -> None:
    assert is_marked([sign], at=100, task_id=task_id) is marked


def test_who_ended_a_try_is_told_by_when_it_ended() -> None:
    signs = [Sign("patch_task_instance", 90, task_id="load"), Sign("clear_dag_run", 95)]
    told = [interference(signs, at=at, task_id="load", past=past) for at, past in [(91, False), (96, True), (94, True)]]
    assert told == [signs[0], signs[1], None]


def test_a_report_survives_its_xcom() -> None:
    assert Report.from_json(REPORT.to_json()) == REPORT
    assert Report.from_json({"id": "ti", "message": 3, "exit_status": True}) == Report("ti", None, None)


@pytest.mark.parametrize("value", [None, "text", 3, [], {}, {"id": 3}])
def test_what_is_no_report_is_none(value: object) -> None:
    assert Report.from_json(value) is None
