"""A run that takes too long tells the webhook `on_call`, while it still runs: topic `job.execution.overdue`.

Needs a triggerer. Make the webhook first:
`airflow webhooks add on_call --endpoint https://hooks.example.com/airflow`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference  # type: ignore[attr-defined]

from airflow_webhook_notify import WebhookNotifier

with DAG(
    "webhook_for_deadline",
    schedule=None,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        # Seconds, so that you can watch it happen.
        interval=timedelta(seconds=3),
        # Async, since Airflow's other kind can't read Connections. The webhook needs no topic for this one: it is
        # sent because it is asked for here. The context has `dag_run` as the REST API writes it, and no `ti`.
        callback=AsyncCallback(
            WebhookNotifier,
            kwargs={"webhook_conn_id": "on_call", "data": {"run": "{{ dag_run.dag_run_id }}"}},
        ),
    ),
):
    BashOperator(task_id="takes_long", bash_command="sleep 10")
