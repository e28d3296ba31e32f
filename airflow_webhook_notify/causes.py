"""Why a job execution failed, as far as Airflow can tell.

Invariant: pure; a cause is named only where something says so (the task's own report, Airflow's audit log, a state
that has one cause alone), and is `unknown` everywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

#: Under this key of the task's XCom a failed try leaves its report.
REPORT_KEY = "webhook_notify_failure"
#: What people do to runs and tasks, as the audit log names it: REST API, UI and `airflow` commands.
_RUN_MARKS = ("patch_dag_run", "bulk_dag_runs")
_MARKS = (*_RUN_MARKS, "patch_task_instance", "patch_task_group_instances", "bulk_task_instances")
_CLEARS = ("post_clear_task_instances", "clear_dag_run", "clear_dag_runs", "clear_dag_run_partitions", "cli_task_clear")
BY_HAND = (*_MARKS, *_CLEARS)
#: The audit log's row is there before the change that it tells of, which takes this long at most. Milliseconds.
_CHANGE_TAKES = 60_000
_NO_HEARTBEAT, _MISMATCH = "heartbeat timeout", "state mismatch"
_LOST = (_NO_HEARTBEAT, _MISMATCH)
_TOLD = ("stuck in queued tries exceeded", "fail task")
#: What Airflow itself writes of a try that failed.
OF_FAILURES = ("failed", "up_for_retry", *_LOST, *_TOLD)
KILLED_TEXT = "the task's process ended without a word: it was killed, or ran out of memory"
_EXECUTOR_TEXT = "the executor lost the task: its process and its supervisor were killed"


class Kind(str, Enum):
    """`Airflow.Cause` of a failure."""

    EXCEPTION = "exception"
    KILLED = "killed"
    HEARTBEAT_TIMEOUT = "heartbeat_timeout"
    RUN_TIMEOUT = "run_timeout"
    UPSTREAM_FAILED = "upstream_failed"
    MANUAL = "manual"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something failed.

    :param message: in Airflow's words, not yet masked
    :param settled: whether waiting for the task's report can't tell more
    """

    kind: Kind
    message: str | None = None
    exit_status: int | None = None
    settled: bool = True


UNKNOWN = Cause(Kind.UNKNOWN, "Airflow gave no reason")


@dataclass(frozen=True, slots=True)
class Report:
    """What the process of a failed try said of it.

    :param id: of the try
    """

    id: str
    message: str | None
    exit_status: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the XCom's value."""
        return {"id": self.id, "message": self.message, "exit_status": self.exit_status}

    @classmethod
    def from_json(cls, value: object) -> Report | None:
        """Return the report in an XCom's value; None where it is none, since a task's author may write there too."""
        if not isinstance(value, Mapping):
            return None
        identifier, message, status = value.get("id"), value.get("message"), value.get("exit_status")
        if not isinstance(identifier, str):
            return None
        number = status if isinstance(status, int) and not isinstance(status, bool) else None
        return cls(identifier, message if isinstance(message, str) else None, number)


@dataclass(frozen=True, slots=True)
class Sign:
    """A row of the audit log about a run or a task.

    :param at: milliseconds since the epoch
    :param task_id: None where it is about more than one task, or the run
    """

    event: str
    at: int
    text: str = ""
    task_id: str | None = None

    def changed(self, at: int) -> bool:
        """Whether it is about a change that was made at this time."""
        return self.at <= at <= self.at + _CHANGE_TAKES


def is_marked(signs: Sequence[Sign], *, at: int, task_id: str | None) -> bool:
    """Return whether a person set the state of a run or task at this time.

    :param task_id: None for the run
    """
    if task_id is None:
        return any(sign.event in _RUN_MARKS and sign.changed(at) for sign in signs)
    return any(sign.event in _MARKS and sign.changed(at) and sign.task_id in (None, task_id) for sign in signs)


def is_followed_by_a_try(signs: Sequence[Sign], *, ended_at: int, try_number: int, max_tries: int) -> bool:
    """Return whether another try follows a failed one that is in the history, without anyone's doing.

    There a try that failed for good and was cleared later looks as one that Airflow tries again.

    :param signs: those of this try, and those of its run
    """
    events = {sign.event for sign in signs}
    # Cleared while it ran: the history dates its end at that moment.
    if any(sign.event in _CLEARS and sign.changed(ended_at) for sign in signs):
        return True
    if "up_for_retry" in events:
        return True
    # Airflow's scheduler writes `failed` for both, a task's supervisor only for what is final.
    if "failed" in events and not events & set(_LOST):
        return False
    return try_number <= max_tries


def cause_of_task(
    state: str, *, report: Report | None, signs: Sequence[Sign], marked: bool, ran: bool, reports: bool, over: bool
) -> Cause:
    """Return why a try failed.

    :param state: Airflow's
    :param signs: of this try
    :param marked: whether a person set the state
    :param ran: whether its process ever ran
    :param reports: whether processes report what they see at all
    :param over: whether a report that there is would have been written before the state
    """
    if state == "upstream_failed":
        return Cause(Kind.UPSTREAM_FAILED, "an upstream task failed")
    if report is not None:
        return Cause(Kind.EXCEPTION, report.message, report.exit_status)
    if marked:
        return Cause(Kind.MANUAL, "marked failed by hand")
    told = _told(signs)
    if told is not None:
        return told
    if not ran:
        return UNKNOWN
    if not reports:
        return Cause(Kind.UNKNOWN, UNKNOWN.message)
    return Cause(Kind.KILLED, KILLED_TEXT, settled=over)


def _told(signs: Sequence[Sign]) -> Cause | None:
    by_event = {sign.event: sign for sign in signs}
    if _NO_HEARTBEAT in by_event:
        return Cause(Kind.HEARTBEAT_TIMEOUT, by_event[_NO_HEARTBEAT].text or None)
    if _MISMATCH in by_event:
        return Cause(Kind.KILLED, _EXECUTOR_TEXT)
    for event in _TOLD:
        if event in by_event:
            return Cause(Kind.UNKNOWN, by_event[event].text or None)
    return None


def cause_of_run(*, marked: bool, timed_out: bool, first: Cause | None) -> Cause:
    """Return why a run failed.

    :param marked: whether a person set the state
    :param first: of the first task of it that failed; None where none failed
    """
    if marked:
        return Cause(Kind.MANUAL, "marked failed by hand")
    if timed_out:
        return Cause(Kind.RUN_TIMEOUT, "timed_out")
    if first is not None:
        return Cause(first.kind, "task_failure")
    return UNKNOWN
