"""DAGs whose callbacks can't reach the intake."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_webhook_notify import dag_callbacks, task_callbacks

# Each task and each round of callbacks has a process of its own that reads this file, so this is for them alone.
# Nothing listens on port 1.
os.environ["AIRFLOW__WEBHOOK_NOTIFY__INTAKE_URL"] = "http://127.0.0.1:1"

for conn_id in ("answers", "dead"):
    with DAG(
        f"no_intake_{conn_id}",
        default_args={
            **task_callbacks(conn_id, retries=True),
            "retries": 1,
            "retry_delay": timedelta(seconds=1),
        },
        **dag_callbacks(conn_id),
    ):
        BashOperator(task_id="succeeds", bash_command="true")
        BashOperator(task_id="fails", bash_command="exit 7")
