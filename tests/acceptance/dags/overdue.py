"""A DAG run that misses its deadline, and ends once its webhook heard of it."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator

# The stubs of airflow.sdk lack the last three.
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference  # type: ignore[attr-defined]

from airflow_webhook_notify import WebhookNotifier

with DAG(
    "late",
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=1),
        callback=AsyncCallback(
            WebhookNotifier,
            # Airflow gives a deadline alert the run as its REST API writes it, and no `run_id`.
            kwargs={"webhook_conn_id": "ops", "data": {"run": "{{ dag_run.dag_run_id }}"}},
        ),
    ),
):
    BashOperator(
        task_id="takes_long",
        bash_command='until [ -e "$AIRFLOW_HOME/was-heard" ]; do sleep 0.2; done',
        execution_timeout=timedelta(minutes=2),
    )
