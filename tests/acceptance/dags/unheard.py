"""DAGs whose webhooks can't be had: their tasks and runs must end as if they had none."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_webhook_notify import dag_callbacks, task_callbacks

for conn_id in ("hangs", "closed", "not_there", "garbled"):
    with DAG(
        f"unheard_{conn_id}",
        default_args={
            **task_callbacks(conn_id, retries=True),
            "retries": 1,
            "retry_delay": timedelta(seconds=1),
        },
        **dag_callbacks(conn_id),
    ):
        BashOperator(task_id="succeeds", bash_command="true")
        BashOperator(task_id="fails", bash_command="exit 7")
