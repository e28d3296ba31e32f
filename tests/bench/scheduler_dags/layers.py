"""One task with a process, and then layers of tasks that the scheduler itself marks as done, many in a loop."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, cross_downstream, task

LAYERS, WIDTH = 4, 4

with DAG("layers"):

    @task
    def work() -> None:
        """Do nothing."""

    before: list[Any] = [work()]
    for layer in range(LAYERS):
        tasks = [EmptyOperator(task_id=f"layer_{layer}_{place}") for place in range(WIDTH)]
        cross_downstream(before, tasks)
        before = tasks
