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
_STUCK, _FAIL_FAST = "stuck in queued tries exceeded", "fail task"
_TOLD = (_STUCK, _FAIL_FAST)
_FAILED, _RETRY = "failed", "up_for_retry"
#: What Airflow itself writes of a try that failed.
OF_FAILURES = (_FAILED, _RETRY, *_LOST, *_TOLD)
KILLED_TEXT = "the task's process ended without a word: it was killed, or ran out of memory"
NEVER_BEGAN_TEXT = (
    "the task's process ended without a word, and perhaps before the task began: its DAG file is gone or broken, "
    "or it was killed"
)
#: In a mismatch's text: no process was lost, Airflow failed the task for what its executor said of an earlier one.
_QUEUED = "state attribute is queued"


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
    :param at: when it was written; milliseconds since the epoch
    """

    id: str
    message: str | None
    exit_status: int | None
    at: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the XCom's value."""
        return {"id": self.id, "message": self.message, "exit_status": self.exit_status}

    @classmethod
    def from_json(cls, value: object, *, at: int | None = None) -> Report | None:
        """Return the report in an XCom's value; None where it is none, since a task's author may write there too."""
        if not isinstance(value, Mapping):
            return None
        identifier, message, status = value.get("id"), value.get("message"), value.get("exit_status")
        if not isinstance(identifier, str):
            return None
        number = status if isinstance(status, int) and not isinstance(status, bool) else None
        return cls(identifier, message if isinstance(message, str) else None, number, at)


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
    return bool(_marks(signs, _MARKS, at=at, task_id=task_id))


def _marks(signs: Sequence[Sign], events: Sequence[str], *, at: int, task_id: str) -> list[Sign]:
    return [sign for sign in signs if sign.event in events and sign.changed(at) and sign.task_id in (None, task_id)]


def interference(signs: Sequence[Sign], *, at: int, task_id: str, past: bool) -> Sign | None:
    """Return what a person did that ended a try at this time; None where nobody did.

    :param signs: of its run
    :param past: whether the try is in the history, where a cleared one gets to
    """
    found = _marks(signs, _CLEARS if past else _MARKS, at=at, task_id=task_id)
    return found[-1] if found else None


def is_followed_by_a_try(
    signs: Sequence[Sign], *, task_id: str, ended_at: int, try_number: int, max_tries: int
) -> bool:
    """Return whether another try follows a failed one that is in the history, without anyone's doing.

    There a try that failed for good and was cleared later looks as one that Airflow tries again.

    :param signs: those of this try, and those of its run
    """
    events = {sign.event for sign in signs}
    # Cleared while it ran: the history dates its end at that moment.
    if _marks(signs, _CLEARS, at=ended_at, task_id=task_id) or _RETRY in events:
        return True
    # Airflow's scheduler writes `failed` for both, a task's supervisor only for what is final.
    if events & {*_LOST, _STUCK}:
        return try_number <= max_tries
    # Where nobody saw it fail, a scheduler took it back from another one that had died, and starts it anew.
    return not (events & {_FAILED, _FAIL_FAST} or _marks(signs, _MARKS, at=ended_at, task_id=task_id))


@dataclass(frozen=True, slots=True)
class Traces:
    """What a try has left behind.

    :param signs: those of this try
    :param by_hand: what a person did that ended it
    :param ran: whether its process ever ran
    :param began: whether that is known to have come to the task itself
    :param reports: whether processes report what they see at all
    """

    report: Report | None = None
    signs: Sequence[Sign] = ()
    by_hand: Sign | None = None
    ran: bool = True
    began: bool = True
    reports: bool = True


def cause_of_task(state: str, traces: Traces) -> Cause:
    """Return why a try failed.

    :param state: Airflow's
    """
    if state == "upstream_failed":
        return Cause(Kind.UPSTREAM_FAILED, "an upstream task failed")
    report = traces.report
    if report is not None and not _is_aftermath(report, traces):
        return Cause(Kind.EXCEPTION, report.message, report.exit_status)
    if traces.by_hand is not None:
        cleared = traces.by_hand.event in _CLEARS
        return Cause(Kind.MANUAL, "cleared by hand while it ran" if cleared else "marked failed by hand")
    return _told(traces.signs) or _untold(traces)


def _is_aftermath(report: Report, traces: Traces) -> bool:
    # A process that is ended from outside may report that, as a failure of its own.
    ended = [sign for sign in traces.signs if sign.event in _LOST]
    return report.at is not None and any(
        sign.at < report.at for sign in (*ended, *([traces.by_hand] if traces.by_hand else []))
    )


def _untold(traces: Traces) -> Cause:
    # An executor whose task has ended while Airflow takes it for running saw the process go.
    seen = any(sign.event == _MISMATCH for sign in traces.signs)
    if not traces.ran or not (traces.reports or seen):
        return UNKNOWN
    # A supervisor writes `failed` when the process has ended, and `up_for_retry` before its report.
    settled = all(sign.event != _RETRY for sign in traces.signs)
    if not traces.began:
        return Cause(Kind.UNKNOWN, NEVER_BEGAN_TEXT, settled=settled)
    return Cause(Kind.KILLED, KILLED_TEXT, settled=settled)


def _told(signs: Sequence[Sign]) -> Cause | None:
    by_event = {sign.event: sign for sign in signs}
    if _NO_HEARTBEAT in by_event:
        return Cause(Kind.HEARTBEAT_TIMEOUT, by_event[_NO_HEARTBEAT].text or None)
    if _MISMATCH in by_event and _QUEUED in by_event[_MISMATCH].text:
        return Cause(Kind.UNKNOWN, by_event[_MISMATCH].text)
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
