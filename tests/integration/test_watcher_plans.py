"""What a look of the watcher reads, and through which index, so that old rows do not slow it down.

Invariant: SQLite's plans, since PostgreSQL reads a small table whole; its figures are in tests/bench.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from airflow_webhook_notify.models import Level
from tests.integration.airflow_rows import AirflowRows, make_tables, subscriber
from tests.integration.outboxes import make_engine

Statement = tuple[str, Any]


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[AirflowRows]:
    """Airflow's empty tables and ours."""
    engine = make_engine(f"sqlite:///{tmp_path / 'airflow.db'}")
    make_tables(engine)
    yield AirflowRows(engine)
    engine.dispose()


@contextmanager
def reads(engine: Engine) -> Iterator[list[Statement]]:
    """Give what is read meanwhile."""
    found: list[Statement] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(("SELECT", "WITH")):
            found.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


#: Airflow's tables that grow with every run, and the indexes that lead to few of their rows.
FEW = {
    "dag_run": ("PRIMARY KEY", "sqlite_autoindex_dag_run_1", "idx_dag_run_queued_dags", "idx_dag_run_running_dags"),
    "task_instance": ("ti_dag_run", "sqlite_autoindex_task_instance_"),
    "task_instance_history": ("sqlite_autoindex_task_instance_history_",),
    # The audit log is read on from where the last look came to.
    "log": ("idx_log_task_instance", "(event=? AND rowid>?)"),
    "xcom": ("sqlite_autoindex_xcom_1",),
    "rendered_task_instance_fields": ("sqlite_autoindex_rendered_task_instance_fields_1",),
}


def far_reaching(engine: Engine, statements: list[Statement]) -> list[str]:
    """Return the steps by which SQLite reads more of Airflow's large tables than what is asked for."""
    with engine.connect() as connection:
        steps = [
            row.detail
            for statement, parameters in statements
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    return [step for step in steps if not _is_few(*step.split(" ", 2))]


def _is_few(how: str, table: str = "", index: str = "") -> bool:
    # Without an index, `SEARCH` is for the greatest number of all.
    return table not in FEW or (how == "SEARCH" and (not index or any(few in index for few in FEW[table])))


def busy(rows: AirflowRows) -> None:
    """Have all happen that a look may come upon."""
    rows.runs_task("load", start=1, max_tries=1)
    rows.next_try("load", state="up_for_retry", end_date=2)
    for task_id in ("lost", "gone"):
        rows.runs_task(task_id, start=1)
        rows.task(task_id, state="failed", end_date=2)
    rows.run(run_id="r2", state="failed", start=1)


def test_a_look_goes_to_few_rows_of_large_tables(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(retries=True, level=Level.BOTH))
    rows.run(start=0)
    watcher = rows.watcher()
    with reads(rows.engine) as statements:
        rows.look(watcher)
    busy(rows)
    for after, marked in ((1, ()), (1, ()), (40, ()), (100, ("r1", "r2"))):
        for run_id in marked:
            rows.logs("patch_dag_run", run_id=run_id)
        with reads(rows.engine) as more:
            rows.look(watcher, after=after)
        statements += more
    asked = [statement for statement, _ in statements]
    for table in ("dag_run", "task_instance_history", "log", "xcom", "rendered_task_instance_fields"):
        assert any(f" {table} " in f"{statement} ".replace("\n", " ") for statement in asked), table
    assert far_reaching(rows.engine, statements) == []


def test_a_look_that_finds_nothing_reads_no_row_again(rows: AirflowRows) -> None:
    rows.run(start=0)
    watcher = rows.watcher()
    rows.look(watcher)
    rows.runs_task("load", start=1)
    rows.look(watcher)
    with reads(rows.engine) as statements:
        assert rows.look(watcher) == []
    whole = ("task_instance.hostname", "dag_run.logical_date")
    assert [statement for statement, _ in statements if any(column in statement for column in whole)] == []
