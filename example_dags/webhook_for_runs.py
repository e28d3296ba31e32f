"""A DAG tells the webhook `on_call` how each of its runs ended, and says nothing of its tasks.

Make the webhook first: `airflow webhooks add on_call --endpoint https://hooks.example.com/airflow`.
"""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_webhook_notify import dag_callbacks

# Airflow has no callback for a run that starts, so a run has two topics: succeeded and failed.
with DAG("webhook_for_runs", schedule=None, **dag_callbacks("on_call")):
    BashOperator(task_id="count", bash_command="echo 42 rows")
