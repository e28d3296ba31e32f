"""Callback contexts as Airflow's own code makes them.

Invariant: every context here comes out of Airflow's `RuntimeTaskInstance.get_template_context`, as in the task
process and in the DAG processor; no attribute is invented.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

START = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc)
END = START + timedelta(seconds=7)
LOGICAL_DATE = datetime(2026, 1, 2, tzinfo=timezone.utc)
TI_ID = uuid.UUID("019b7c3e-5d2a-7000-8000-000000000001")


def ms(moment: datetime) -> int:
    """Milliseconds since the epoch."""
    return int(moment.timestamp() * 1000)


def dag_run(**values: Any) -> DagRun:
    """The run as the API server tells a task of it."""
    known = {
        "dag_id": "etl",
        "run_id": "scheduled__2026-01-02T00:00:00+00:00",
        "logical_date": LOGICAL_DATE,
        "run_after": START,
        "start_date": START,
        "end_date": None,
        "clear_number": 0,
        "run_type": "scheduled",
        "state": "running",
        "conf": {},
        "consumed_asset_events": [],
    }
    return DagRun.model_construct(**{**dict.fromkeys(DagRun.model_fields), **known, **values})


def task_context(
    task: Any,
    *,
    state: str | None,
    try_number: int = 1,
    max_tries: int = 0,
    map_index: int = -1,
    exception: BaseException | None = None,
    ended: bool = True,
    run: DagRun | None = None,
) -> dict[str, Any]:
    """The context of a task's callback.

    :param task: an operator, mapped or not
    :param state: None as in the DAG processor
    """
    run = run or dag_run(dag_id=task.dag_id)
    ti = RuntimeTaskInstance.model_construct(
        id=TI_ID,
        task_id=task.task_id,
        dag_id=task.dag_id,
        run_id=run.run_id,
        try_number=try_number,
        map_index=map_index,
        task=task,
        max_tries=max_tries,
        start_date=START,
        end_date=END if ended else None,
        state=state,
        _ti_context_from_server=TIRunContext.model_construct(dag_run=run, max_tries=max_tries),
    )
    context: dict[str, Any] = dict(ti.get_template_context())
    if exception is not None:
        context["exception"] = exception
    return context


def dag_context(dag: DAG, *, reason: str, run: DagRun | None = None) -> dict[str, Any]:
    """The context of a DAG's callback: that of a task of it, with a reason."""
    context = task_context(dag.tasks[0], state=None, run=run or dag_run(dag_id=dag.dag_id, end_date=END))
    context["reason"] = reason
    return context
