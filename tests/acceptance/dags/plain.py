"""A DAG that knows nothing of webhooks."""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("plain"):
    BashOperator(task_id="succeeds", bash_command="true")
