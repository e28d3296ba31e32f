"""Every task of a DAG tells the webhook `on_call` when it starts, succeeds or fails.

Make the webhook first: `airflow webhooks add on_call --endpoint https://hooks.example.com/airflow`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task

from airflow_webhook_notify import task_callbacks

with DAG(
    "webhook_for_tasks",
    schedule=None,
    default_args={
        # `retries` reports each failed try too; without it only the last one is a failure to the receiver.
        **task_callbacks("on_call", retries=True),
        "retries": 1,
        "retry_delay": timedelta(seconds=1),
    },
):
    # Fails once, then succeeds: two events `started`, one `failed` with a `NextAttemptAt`, one `succeeded`.
    extract = BashOperator(task_id="extract", bash_command="exit {{ 2 - ti.try_number }}")

    # A task's own arguments go over default_args: this one is too chatty for a webhook.
    @task(on_execute_callback=None, on_success_callback=None)
    def load() -> None:
        """Load nothing."""

    extract >> load()
