"""What has happened since the last look, to the runs that somebody hears of.

Invariant: an occurrence is found as long as it was not remembered, and one that is older than what this watcher
answers for is not found at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from airflow_webhook_notify import topics
from airflow_webhook_notify.causes import is_followed_by_a_try, is_marked
from airflow_webhook_notify.observed import Occurrence, RunRow, TaskRow, happened_to_run, happened_to_task
from airflow_webhook_notify.outbox.watch import Mark
from airflow_webhook_notify.subscriptions import Subscriptions
from airflow_webhook_notify.watcher import reading
from airflow_webhook_notify.watcher.evidence import Change, changes_after, newest_log_key, signs_of, try_key
from airflow_webhook_notify.watcher.following import Followed, Following
from airflow_webhook_notify.watcher.reading import ReadTask

#: How far each look, and every so often a wide one, reaches back before the last: a transaction that was open then
#: has written what it dated earlier, and clocks differ. Milliseconds.
NARROW, WIDE, WIDE_EVERY = 5_000, 60_000, 15_000
#: After so long without a look, runs may have come and gone unseen. Milliseconds.
_GAP = 30_000


@dataclass(frozen=True, slots=True)
class Span:
    """What one look covers. Times are milliseconds since the epoch.

    :param mark: of the last look
    :param floor: nothing older is told
    :param wide: whether it reaches back further than others
    :param first: whether it is this watcher's first
    """

    now: int
    mark: Mark
    floor: int
    wide: bool
    first: bool

    @property
    def since(self) -> int:
        """From when changes are read of runs that have been read before."""
        return self.mark.looked_at - (WIDE if self.wide else NARROW)

    @property
    def gap(self) -> bool:
        """Whether runs may have come and gone since the last look."""
        return self.first or self.now - self.mark.looked_at > _GAP


@dataclass(frozen=True, slots=True)
class Found:
    """An occurrence and the number of its run."""

    key: int
    occurrence: Occurrence


@dataclass(frozen=True, slots=True)
class Findings:
    """What one look has found.

    :param occurrences: oldest first
    :param read: runs whose tasks were read
    :param tasks: those that were read of them
    """

    occurrences: Sequence[Found] = ()
    read: Sequence[int] = ()
    tasks: Sequence[ReadTask] = ()


def newest(connection: Connection, *, now: int) -> Mark:
    """Return the mark of a watcher that answers for nothing that has happened so far."""
    run_key = reading.newest_run_key(connection)
    return Mark(now, run_key, run_key, newest_log_key(connection))


def find_runs(connection: Connection, following: Following, subscriptions: Subscriptions, span: Span) -> Mark:
    """Bring the runs that are followed up to date, and return the newest rows that were seen."""
    known = following.known
    rows = {run.key: run for run in _new_and_under_way(connection, span, known)}
    changes = changes_after(connection, span.mark.log_key)
    for run in reading.runs_of(connection, [key for key in following.runs if key not in rows], known):
        rows[run.key] = run
    for run in reading.runs_named(connection, _unknown(changes, rows.values(), subscriptions)):
        rows[run.key] = run
    heard = {key: run for key, run in rows.items() if subscriptions.of(run.dag_id)}
    following.drop(now=span.now, gone=[key for key in following.runs if key not in heard])
    following.known = rows
    for run in heard.values():
        following.see(run, now=span.now, since=span.mark.looked_at - WIDE)
    following.note(changes, now=span.now)
    run_key = max(rows, default=span.mark.run_key)
    log_key = max((change.key for change in changes), default=span.mark.log_key)
    return Mark(span.now, max(run_key, span.mark.run_key), min(following.runs, default=run_key), log_key)


def _new_and_under_way(connection: Connection, span: Span, known: reading.KnownRuns) -> Iterator[RunRow]:
    yield from reading.runs_under_way(connection, known)
    yield from reading.runs_after(connection, span.mark.run_key, known)
    if span.gap:
        since = max(span.mark.looked_at - WIDE, span.floor)
        yield from reading.runs_changed(connection, known, from_key=span.mark.oldest_run_key, since=since)


def _unknown(changes: Iterable[Change], rows: Iterable[RunRow], subscriptions: Subscriptions) -> list[tuple[str, str]]:
    known = {(run.dag_id, run.run_id) for run in rows}
    named = {
        (change.dag_id, change.run_id)
        for change in changes
        if change.run_id is not None and subscriptions.of(change.dag_id)
    }
    return sorted(named - known)


def find_occurrences(
    connection: Connection, following: Following, subscriptions: Subscriptions, span: Span
) -> Findings:
    """Return what has happened and was not remembered yet."""
    found = [
        Found(key, occurrence)
        for key, followed in following.runs.items()
        if followed.changed
        for occurrence in following.fresh(key, _of_run(followed, span))
    ]
    read = following.to_read(now=span.now, wide=span.wide)
    tasks = list(_changed_tasks(connection, following, subscriptions, span))
    for key, task, *_ in tasks:
        found.extend(Found(key, item) for item in following.fresh(key, _of_task(following.runs[key], task, span)))
    again = [read_task.task.id for read_task in tasks if following.needs_history(read_task)]
    found.extend(_earlier(connection, following, again, span))
    unique = {(item.key, item.occurrence.key): item for item in found}
    return Findings(sorted(unique.values(), key=_order), read, tasks)


def _order(item: Found) -> tuple[int, str, int]:
    # Of what happened in one millisecond, the run comes first; a database returns tasks in no order.
    task = item.occurrence.task
    return (item.occurrence.at, "", -1) if task is None else (item.occurrence.at, task.task_id, task.map_index)


def _of_run(followed: Followed, span: Span) -> Iterator[Occurrence]:
    run = followed.run
    by_hand = is_marked(followed.signs, at=run.updated, task_id=None)
    for occurrence in happened_to_run(run, changed_by_hand=by_hand):
        if _counts(occurrence, followed, span, updated=run.updated):
            yield occurrence


def _of_task(followed: Followed, task: TaskRow, span: Span, *, will_retry: bool = False) -> Iterator[Occurrence]:
    by_hand = not task.past and is_marked(followed.signs, at=task.updated, task_id=task.task_id)
    for occurrence in happened_to_task(followed.run, task, will_retry=will_retry, changed_by_hand=by_hand):
        # A row of the history keeps the time of a change before its end.
        updated = max(task.updated, occurrence.at)
        if _counts(occurrence, followed, span, updated=updated):
            yield occurrence


def _counts(occurrence: Occurrence, followed: Followed, span: Span, *, updated: int) -> bool:
    # What ended may be written long after its own time, and what started is never changed again.
    at = occurrence.at if occurrence.topic == topics.STARTED else max(occurrence.at, updated)
    return at >= max(followed.since, span.floor)


def _changed_tasks(
    connection: Connection, following: Following, subscriptions: Subscriptions, span: Span
) -> Iterator[ReadTask]:
    by_since: dict[int, list[int]] = defaultdict(list)
    for key in following.to_read(now=span.now, wide=span.wide):
        followed = following.runs[key]
        if subscriptions.hears_tasks(followed.run.dag_id):
            by_since[span.since if followed.read else min(span.since, followed.since)].append(key)
    for since, keys in by_since.items():
        yield from reading.tasks_changed(connection, keys, since=since, known=following.rows)


def _earlier(connection: Connection, following: Following, ids: Iterable[str], span: Span) -> Iterator[Found]:
    rows = list(reading.earlier_tries(connection, ids))
    signs = signs_of(connection, (row for row in rows if row.state == "failed"))
    for row in rows:
        key = following.key_of(row.dag_id, row.run_id)
        followed = following.runs[key]
        will_retry = row.state == "failed" and is_followed_by_a_try(
            [*signs.get(try_key(row), ()), *followed.signs],
            task_id=row.task_id,
            ended_at=row.end or row.updated,
            try_number=row.try_number,
            max_tries=row.max_tries,
        )
        occurrences = _of_task(followed, row, span, will_retry=will_retry)
        for occurrence in following.fresh(key, occurrences):
            yield Found(key, occurrence)
