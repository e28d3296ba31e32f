"""Runs and task instances in Airflow's own tables, by the hundred thousand, and what changes of them.

Invariant: the tables are Airflow's own, with their indexes, and a change stamps what Airflow stamps.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Integer,
    String,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.engine import Connection, Engine

RUNS, TASKS, DAGS = 1_000, 100, 200
_R: Any = DagRun.__table__
_T: Any = TaskInstance.__table__
_HOUR = timedelta(hours=1)


def fill(engine: Engine, prefix: str, *, runs: int, over: bool) -> None:
    """Make runs with a hundred task instances each: half of them done, the others as the runs.

    :param over: whether all of it ended an hour ago; else the runs are running, and their tasks queued
    """
    ago = datetime.now(timezone.utc) - _HOUR
    with engine.begin() as connection:
        _fill_runs(connection, prefix, runs, ago, over)
        _fill_tasks(connection, prefix, runs, ago, over)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


def _fill_runs(connection: Connection, prefix: str, runs: int, ago: datetime, over: bool) -> None:
    run = _numbers("run", runs)
    values = {
        **_names(prefix, run),
        "run_type": literal("scheduled"),
        "run_after": literal(ago, _R.c.run_after.type),
        "state": literal("success" if over else "running"),
        "start_date": literal(ago, _R.c.start_date.type),
        "end_date": literal(ago if over else None, _R.c.end_date.type),
        "updated_at": literal(ago, _R.c.updated_at.type),
        "clear_number": literal(0),
    }
    connection.execute(_insert(_R, values, run, run))


def _fill_tasks(connection: Connection, prefix: str, runs: int, ago: datetime, over: bool) -> None:
    run, task = _numbers("run", runs), _numbers("task", TASKS)
    done = literal(True) if over else task.c.i % 2 == 0
    values = {
        "id": _random_id(connection.dialect.name),
        **_names(prefix, run),
        "task_id": literal("task_") + cast(task.c.i, String),
        "state": _choice(done, "success", "queued"),
        "try_number": _choice(done, 1, 0),
        "max_tries": literal(0),
        "hostname": literal("w"),
        "operator": literal("BashOperator"),
        "pool": literal("default_pool"),
        "pool_slots": literal(1),
        **{name: literal(ago, _T.c[name].type) for name in ("start_date", "end_date", "queued_dttm", "updated_at")},
    }
    connection.execute(_insert(_T, values, run.join(task, true()), run))


def _numbers(name: str, most: int) -> CTE:
    first = select(literal(1, Integer).label("i")).cte(name, recursive=True)
    return first.union_all(select(first.c.i + 1).where(first.c.i < most))


def _names(prefix: str, run: CTE) -> dict[str, ColumnElement[str]]:
    return {
        "dag_id": literal("dag_") + cast(run.c.i % DAGS, String),
        "run_id": literal(prefix) + cast(run.c.i, String),
    }


def _random_id(dialect: str) -> ColumnElement[Any]:
    return func.gen_random_uuid() if dialect == "postgresql" else func.lower(func.hex(func.randomblob(16)))


def _choice(condition: ColumnElement[bool], yes: Any, no: Any) -> ColumnElement[Any]:
    return case((condition, yes), else_=no)


def _insert(table: Any, values: dict[str, ColumnElement[Any]], source: FromClause, run: CTE) -> Any:
    # The rows of a run lie together, as Airflow makes them.
    rows = select(*values.values()).select_from(source).order_by(run.c.i)
    # What is left out has a default of the database's own, or may be NULL.
    return insert(table).from_select(list(values), rows, include_defaults=False)


def waiting(engine: Engine, count: int) -> list[uuid.UUID]:
    """Return task instances that wait to begin, of many runs."""
    wanted = select(_T.c.id).where(_T.c.state == "queued").order_by(func.random()).limit(count)
    with engine.connect() as connection:
        return list(connection.execute(wanted).scalars())


def change(connection: Connection, rows: Iterable[uuid.UUID], state: str, *, whole: bool = False) -> None:
    """Have task instances come to a state: `running`, or one that they end in.

    :param whole: whether those that end have begun at the same moment
    """
    # A commit takes its time, so what a row says is a little earlier.
    now = datetime.now(timezone.utc)
    ends = state != "running"
    begun = {} if ends and not whole else {"queued_dttm": now, "start_date": now, "try_number": 1, "hostname": "w"}
    values = {"state": state, "updated_at": now, **begun, **({"end_date": now} if ends else {})}
    changed = update(_T).where(_T.c.id == bindparam("row")).values(values)
    connection.execute(changed, [{"row": row} for row in rows])
