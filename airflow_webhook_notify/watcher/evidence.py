"""What else the metadata database knows of a failure: the audit log, the task's own report, what it ran.

Invariant: every statement goes through an index to the rows of what the caller names, or to the newest of the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.models.log import Log
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.xcom import XComModel
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from airflow_webhook_notify.causes import BY_HAND, OF_FAILURES, REPORT_KEY, Report, Sign
from airflow_webhook_notify.executions import COMMAND_FIELDS
from airflow_webhook_notify.observed import TaskRow
from airflow_webhook_notify.watcher.reading import among, chunks, milliseconds

_L: Any = Log.__table__.c
_X: Any = XComModel.__table__.c
_F: Any = RenderedTaskInstanceFields.__table__.c
#: Rows of the log that one look reads; the next one goes on.
_MOST = 5000
#: How deep in the body of a request the runs that it changes are named.
_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a person did, from the audit log.

    :param run_id: None where it does not name the run
    """

    key: int
    dag_id: str
    run_id: str | None
    sign: Sign


def changes_after(connection: Connection, key: int) -> list[Change]:
    """Return what people did to runs and tasks after a row of the audit log."""
    columns = [_L.id, _L.dttm, _L.event, _L.dag_id, _L.run_id, _L.task_id, _L.extra]
    statement = select(*columns).where(_L.id > key, _L.event.in_(BY_HAND)).order_by(_L.id).limit(_MOST)
    return [change for row in connection.execute(statement) for change in _changes_of(row)]


def newest_log_key(connection: Connection) -> int:
    """Return the number of the audit log's newest row; 0 where there is none."""
    return int(connection.execute(select(func.max(_L.id))).scalar() or 0)


def _changes_of(row: Any) -> Iterator[Change]:
    key, at, event, dag_id, run_id, task_id, extra = row
    sign = Sign(event, milliseconds(at) if at else 0, task_id=task_id)
    if dag_id and dag_id != "~" and run_id != "~":
        yield Change(key, dag_id, run_id, sign)
        return
    # A bulk request names its runs in its body.
    for named_dag, named_run in set(_named(_parsed(extra), dag_id if dag_id != "~" else None, _DEPTH)):
        yield Change(key, named_dag, named_run, Sign(event, sign.at))


def _parsed(text: str | None) -> object:
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


def _named(value: object, dag_id: str | None, depth: int) -> Iterator[tuple[str, str | None]]:
    if isinstance(value, Mapping):
        named = value.get("dag_id")
        dag_id = named if isinstance(named, str) and named != "~" else dag_id
        run_id = value.get("dag_run_id") or value.get("run_id")
        if dag_id and isinstance(run_id, str) and run_id != "~":
            yield dag_id, run_id
    if depth and isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _named(item, dag_id, depth - 1)


#: DAG id, task id, run id, map index, try number.
TryKey = tuple[str, str, str, int, int]


def try_key(task: TaskRow) -> TryKey:
    """Return what names a try."""
    return task.dag_id, task.task_id, task.run_id, task.map_index, task.try_number


def signs_of(connection: Connection, tasks: Iterable[TaskRow]) -> Mapping[TryKey, tuple[Sign, ...]]:
    """Return what Airflow wrote of these tries into its log."""
    found: dict[TryKey, list[Sign]] = {}
    names = (_L.dag_id, _L.task_id, _L.run_id)
    # The index of the events would lead SQLite to all failures that there ever were.
    event_there = func.coalesce(_L.event, "")
    columns = [_L.dag_id, _L.task_id, _L.run_id, _L.map_index, _L.try_number, _L.event, _L.dttm, _L.extra]
    for part in chunks({(task.dag_id, task.task_id, task.run_id) for task in tasks}):
        named = among(connection, names, part)
        statement = select(*columns).where(named, event_there.in_(OF_FAILURES)).order_by(_L.id)
        for *key, event, at, extra in connection.execute(statement):
            sign = Sign(event, milliseconds(at) if at else 0, extra or "")
            found.setdefault(tuple(key), []).append(sign)
    return {key: tuple(signs) for key, signs in found.items()}


def reports_of(connection: Connection, tasks: Iterable[tuple[int, TaskRow]]) -> Mapping[str, Report]:
    """Return what the processes of these tries reported, by the id of the try.

    :param tasks: each with the number of its run
    """
    found: dict[str, Report] = {}
    names = (_X.dag_run_id, _X.task_id, _X.map_index, _X.key)
    for part in chunks({(key, task.task_id, task.map_index, REPORT_KEY) for key, task in tasks}):
        statement = select(_X.value, _X.timestamp).where(among(connection, names, part))
        for value, written in connection.execute(statement):
            at = milliseconds(written) if written else None
            report = Report.from_json(_parsed(value) if isinstance(value, str) else value, at=at)
            if report is not None:
                found[report.id] = report
    return found


def commands_of(connection: Connection, tasks: Iterable[TaskRow]) -> Mapping[tuple[str, str, str, int], str | None]:
    """Return what these task instances ran, as it was rendered for their newest try.

    One that rendered no command has None, and one that rendered nothing is not there.
    """
    found: dict[tuple[str, str, str, int], str | None] = {}
    names = (_F.dag_id, _F.task_id, _F.run_id, _F.map_index)
    for part in chunks({try_key(task)[:4] for task in tasks}):
        statement = select(*names, _F.rendered_fields).where(among(connection, names, part))
        for dag_id, task_id, run_id, map_index, fields in connection.execute(statement):
            found[(dag_id, task_id, run_id, map_index)] = _command_in(fields)
    return found


def _command_in(fields: object) -> str | None:
    rendered = _parsed(fields) if isinstance(fields, str) else fields
    if not isinstance(rendered, Mapping):
        return None
    for name in COMMAND_FIELDS:
        value = rendered.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and value:
            return " ".join(map(str, value))
    return None
