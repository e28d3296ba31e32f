"""What DAGs say of their tasks, from the DAGs that Airflow keeps in its database.

Invariant: a DAG that can't be read costs its events a few fields, never an event; what was read is kept, and no
more of it than a bound.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Engine

from airflow_webhook_notify.executions import COMMAND_FIELDS
from airflow_webhook_notify.observed import RunRow, TaskDefinition

log = logging.getLogger(__name__)

_MOST = 500


@dataclass(frozen=True, slots=True)
class DagDefinition:
    """What a DAG says of its runs and tasks."""

    timeout: timedelta | None = None
    tasks: Mapping[str, TaskDefinition] = field(default_factory=dict)

    def task(self, task_id: str) -> TaskDefinition:
        """Return what it says of a task."""
        return self.tasks.get(task_id) or TaskDefinition()


class Definitions:
    """The definitions of the DAG versions that runs belong to. Not thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: OrderedDict[str, DagDefinition] = OrderedDict()

    def of(self, run: RunRow) -> DagDefinition:
        """Return what the DAG of a run says, in the version that the run belongs to."""
        if run.version is None:
            return DagDefinition()
        if run.version not in self._kept:
            self._kept[run.version] = self._read(run.version, run.dag_id)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        self._kept.move_to_end(run.version)
        return self._kept[run.version]

    def _read(self, version: str, dag_id: str) -> DagDefinition:
        from airflow.models.dagbag import DBDagBag
        from sqlalchemy.orm import Session

        try:
            with Session(self._engine) as session:
                # A new one each time: it would keep every whole DAG that it ever read.
                dag: Any = DBDagBag(load_op_links=False).get_dag(UUID(version), session=session)
                return DagDefinition() if dag is None else _definition_of(dag)
        except Exception as error:  # noqa: BLE001 - a DAG of another version, with classes that are not there
            log.warning(
                "webhooks: the DAG %s can't be read (%s); its events lack details", dag_id, type(error).__name__
            )
            return DagDefinition()


def _definition_of(dag: Any) -> DagDefinition:
    tasks = {task.task_id: _task_of(task) for task in dag.tasks}
    return DagDefinition(getattr(dag, "dagrun_timeout", None), tasks)


def _task_of(task: Any) -> TaskDefinition:
    return TaskDefinition(
        retry_delay=getattr(task, "retry_delay", None),
        retry_exponential_backoff=float(getattr(task, "retry_exponential_backoff", 0) or 0),
        max_retry_delay=getattr(task, "max_retry_delay", None),
        # Airflow keeps no policy there, only that there is one (3.3 and later).
        retry_policy=True if getattr(task, "has_retry_policy", False) else None,
        execution_timeout=getattr(task, "execution_timeout", None),
        command=_command_of(task),
        renders=bool(getattr(task, "template_fields", ())),
    )


def _command_of(task: Any) -> str | None:
    for name in COMMAND_FIELDS:
        value = getattr(task, name, None)
        # A template says what no process ever runs.
        if isinstance(value, str) and value and "{{" not in value and "{%" not in value:
            return value
    function = getattr(task, "python_callable_name", None)
    return function if isinstance(function, str) else None
