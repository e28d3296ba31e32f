"""Runs and task instances, read from Airflow's own tables.

Invariant: every statement goes through an index to few rows, however many old ones there are beside them: runs
under way, new ones, or those that the caller names. Nothing here writes or locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, TypeVar

from airflow.models.dag import DagTag
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    column,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
    union_all,
    values,
)
from sqlalchemy.engine import Connection

from airflow_webhook_notify.observed import RunRow, TaskRow

_R: Any = DagRun.__table__.c
_T: Any = TaskInstance.__table__.c
_H: Any = TaskInstanceHistory.__table__.c
_RUN = [
    *(_R.id, _R.dag_id, _R.run_id, _R.state, _R.run_type, _R.clear_number, _R.start_date, _R.end_date),
    *(_R.updated_at, _R.logical_date, _R.created_dag_version_id),
]
_OF_BOTH = (
    *("task_id", "map_index", "try_number", "max_tries", "state", "start_date", "end_date", "queued_dttm"),
    *("updated_at", "hostname", "operator", "custom_operator_name"),
)
_UPDATED = 3 + _OF_BOTH.index("updated_at")
_RUN_STAMP = [_R.id, _R.state, _R.updated_at]
_TASKS = DagRun.__table__.join(TaskInstance.__table__, and_(_T.dag_id == _R.dag_id, _T.run_id == _R.run_id))
_ENDED = ("success", "failed", "skipped", "upstream_failed")
#: Keys of one statement: SQLite takes some ten thousand, and PostgreSQL plans a few hundred as well as one.
_CHUNK = 500
_NEVER = object()
T = TypeVar("T")
#: Runs by their numbers, as they were read last: one that did not change since is not read again, but is the same.
KnownRuns: TypeAlias = Mapping[int, RunRow]


class ReadTask(NamedTuple):
    """A task instance that was read.

    :param key: the number of its run
    :param row: what names its row, and `stamp` when that was last changed, as the database has them
    """

    key: int
    task: TaskRow
    row: object
    stamp: object


def chunks(items: Iterable[T], size: int = _CHUNK) -> Iterator[list[T]]:
    """Return the items in lists of at most `size`."""
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk


def among(connection: Connection, columns: Sequence[Any], keys: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
    """Return the condition that these columns together are one of the keys."""
    if connection.dialect.name != "sqlite":
        return tuple_(*columns).in_(keys)
    # SQLite reads a whole table to find the rows of a list, and uses an index to find those of a query.
    names = (column(f"column{number}", each.type) for number, each in enumerate(columns, 1))
    return tuple_(*columns).in_(select(*values(*names).data(keys).c))


def milliseconds(moment: datetime) -> int:
    """Return milliseconds since the epoch."""
    return int(moment.timestamp() * 1000)


def moment(at: int) -> datetime:
    """Return the moment of milliseconds since the epoch."""
    return datetime.fromtimestamp(at / 1000, tz=timezone.utc)


def runs_under_way(connection: Connection, known: KnownRuns) -> list[RunRow]:
    """Return the runs that are running, or queued."""
    # One statement per state, since each has a partial index of its own.
    parts = [select(*_RUN_STAMP).where(_R.state == state) for state in ("running", "queued")]
    return _runs(connection, union_all(*parts), known)


def runs_after(connection: Connection, key: int, known: KnownRuns) -> list[RunRow]:
    """Return the runs that were made after another."""
    return _runs(connection, select(*_RUN_STAMP).where(_R.id > key), known)


def runs_changed(connection: Connection, known: KnownRuns, *, from_key: int, since: int) -> list[RunRow]:
    """Return the runs from one on that changed since; for what was missed in an outage.

    :param since: milliseconds since the epoch
    """
    return _runs(connection, select(*_RUN_STAMP).where(_R.id >= from_key, _R.updated_at >= moment(since)), known)


def runs_of(connection: Connection, keys: Iterable[int], known: KnownRuns) -> list[RunRow]:
    """Return the runs with these numbers, as far as they are still there."""
    parts = chunks(keys)
    return [run for part in parts for run in _runs(connection, select(*_RUN_STAMP).where(_R.id.in_(part)), known)]


def runs_named(connection: Connection, names: Iterable[tuple[str, str]]) -> list[RunRow]:
    """Return the runs with these DAG ids and run ids."""
    parts = (among(connection, (_R.dag_id, _R.run_id), part) for part in chunks(names))
    return [run for named in parts for run in _whole_runs(connection, named)]


def newest_run_key(connection: Connection) -> int:
    """Return the number of the newest run; 0 where there is none."""
    return int(connection.execute(select(func.max(_R.id))).scalar() or 0)


def _runs(connection: Connection, stamps: Any, known: KnownRuns) -> list[RunRow]:
    found, changed = [], []
    for key, state, updated in connection.execute(stamps):
        run = known.get(key)
        if run is not None and (run.state, run.updated) == (str(state), _ms(updated)):
            found.append(run)
        else:
            changed.append(key)
    return found + [run for part in chunks(changed) for run in _whole_runs(connection, _R.id.in_(part))]


def _whole_runs(connection: Connection, condition: ColumnElement[bool]) -> list[RunRow]:
    return [_run_of(row) for row in connection.execute(select(*_RUN).where(condition))]


def _run_of(row: Any) -> RunRow:
    key, dag_id, run_id, state, run_type, clear_number, start, end, updated, logical_date, version = row
    return RunRow(
        key=key,
        dag_id=dag_id,
        run_id=run_id,
        state=str(state),
        run_type=str(run_type),
        clear_number=clear_number,
        start=_ms(start),
        end=_ms(end),
        updated=_ms(updated) or 0,
        logical_date=None if logical_date is None else logical_date.astimezone(timezone.utc),
        version=None if version is None else str(version),
    )


def tasks_changed(
    connection: Connection, keys: Iterable[int], *, since: int, known: Mapping[object, object]
) -> Iterator[ReadTask]:
    """Return the task instances of these runs that changed since.

    Those of first tries that wait to begin are left out, and so are those that have been read as they are.

    :param since: milliseconds since the epoch
    :param known: row → its stamp when it was read
    """
    changed = and_(_T.updated_at >= moment(since), _may_tell())
    fresh: list[object] = []
    for part in chunks(keys):
        stamps = select(_T.id, _T.updated_at).select_from(_TASKS).where(_R.id.in_(part), changed)
        # Most of what changed lately has been read by the look before.
        fresh += [row for row, stamp in connection.execute(stamps) if known.get(row, _NEVER) != stamp]
    for rows in chunks(fresh):
        yield from _tasks(connection, _T.id.in_(rows))


def failed_tasks(connection: Connection, keys: Iterable[int]) -> Iterator[tuple[int, TaskRow]]:
    """Return the task instances of these runs that failed, each with the number of its run."""
    # An index on states would lead to all failures that these DAGs ever had.
    failed = func.coalesce(_T.state, "") == "failed"
    for part in chunks(keys):
        for read in _tasks(connection, and_(_R.id.in_(part), failed)):
            yield read.key, read.task


def _may_tell() -> ColumnElement[bool]:
    waits = or_(_T.state.is_(None), _T.state.in_(("scheduled", "queued")))
    return not_(and_(waits, _T.try_number <= 1, not_(and_(_T.state.is_(None), _T.try_number == 1))))


def _tasks(connection: Connection, condition: ColumnElement[bool]) -> Iterator[ReadTask]:
    # Only of what has ended: it is looked up once per row.
    in_history = exists().where(*(_H[name] == _T[name] for name in (*_KEY, "try_number")))
    waits = and_(_T.state.in_(_ENDED), in_history).label("waits")
    columns = [_R.id, _T.id, _T.dag_id, _T.run_id, *(_T[name] for name in _OF_BOTH), *_delay(_T), waits]
    for key, *row, waiting in connection.execute(select(*columns).select_from(_TASKS).where(condition)):
        yield ReadTask(key, _task_of(row, past=False, waits=bool(waiting)), row[0], row[_UPDATED])


_KEY = ("dag_id", "task_id", "run_id", "map_index")


def _delay(columns: Any) -> Sequence[Any]:
    # Airflow 3.3 and later.
    return [columns.retry_delay_override] if "retry_delay_override" in columns else [false()]


def earlier_tries(connection: Connection, ids: Iterable[str]) -> Iterator[TaskRow]:
    """Return the earlier tries of these task instances."""
    same = and_(*(_H[name] == _T[name] for name in _KEY))
    columns = [_H.task_instance_id, _H.dag_id, _H.run_id, *(_H[name] for name in _OF_BOTH), *_delay(_H)]
    joined = TaskInstance.__table__.join(TaskInstanceHistory.__table__, same)
    for part in chunks(ids):
        statement = select(*columns).select_from(joined).where(_T.id.in_(_identifiers(part)))
        for row in connection.execute(statement):
            yield _task_of(row, past=True, waits=False)


def _identifiers(ids: Sequence[str]) -> list[Any]:
    return [_T.id.type.python_type(identifier) for identifier in ids]


def _task_of(row: Sequence[Any], *, past: bool, waits: bool) -> TaskRow:
    identifier, dag_id, run_id, task_id, map_index, try_number, max_tries, state, *rest = row
    start, end, queued, updated, hostname, operator, custom_name, delay = rest
    return TaskRow(
        id=str(identifier),
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        map_index=map_index,
        try_number=try_number,
        max_tries=max_tries or 0,
        state=str(state or ""),
        start=_ms(start),
        end=_ms(end),
        queued=_ms(queued),
        updated=_ms(updated) or 0,
        ran=bool(hostname),
        operator=custom_name or operator,
        past=past,
        waits=waits,
        retry_delay=delay or None,
    )


def _ms(value: datetime | None) -> int | None:
    return None if value is None else milliseconds(value)


def tags(connection: Connection) -> Mapping[str, tuple[str, ...]]:
    """Return the tags of every DAG that has any."""
    columns: Any = DagTag.__table__.c
    found: dict[str, list[str]] = {}
    statement: Select[Any] = select(columns.dag_id, columns.name).order_by(columns.dag_id, columns.name)
    for dag_id, name in connection.execute(statement):
        found.setdefault(dag_id, []).append(name)
    return {dag_id: tuple(names) for dag_id, names in found.items()}
