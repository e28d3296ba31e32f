"""A DAG whose file a test deletes while a run of it is held up."""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator
from calls import watched_dag  # type: ignore[import-not-found]

with watched_dag("file_deleted"):
    hold = BashOperator(
        task_id="holds", bash_command='until [ -e "$AIRFLOW_HOME/{{ dag.dag_id }}.go" ]; do sleep 0.1; done'
    )
    hold >> BashOperator(task_id="later", bash_command="true")
