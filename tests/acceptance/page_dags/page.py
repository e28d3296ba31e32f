"""DAGs without a callback: webhooks subscribe to them. What they do, and fail with, is in a run's `conf`."""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task


@task
def fails(**context: object) -> None:
    """Fail with a text of the run's."""
    dag_run = context["dag_run"]
    raise ValueError(dag_run.conf.get("message", ""))  # type: ignore[attr-defined]


@task
def counts(number: int) -> int:
    """Be mapped."""
    return number


with DAG("orders", tags=["production"]):
    BashOperator(task_id="extract", bash_command="true") >> BashOperator(
        task_id="load", bash_command="exit {{ dag_run.conf.get('exit', 0) }}"
    )
    counts.expand(number=[1, 2])

with DAG("hostile"):
    fails()
