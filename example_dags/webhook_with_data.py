"""A task adds data of its own to its event: the receiver finds it under `Data.Custom`.

Make the webhook first: `airflow webhooks add on_call --endpoint https://hooks.example.com/airflow`.
"""

from __future__ import annotations

from airflow.sdk import DAG, task

from airflow_webhook_notify import WebhookNotifier

# Texts are templates, rendered when the event happens: here the XCom of the task that succeeded. A template gives a
# text, so `rows` arrives as "42". What Airflow masks in logs is masked here too.
report = WebhookNotifier(
    "on_call",
    data={
        "team": "payments",
        "priority": 2,
        "rows": "{{ ti.xcom_pull(task_ids='load') }}",
        "period": {"from": "{{ dag_run.conf.get('from', 'unknown') }}"},
    },
)

with DAG("webhook_with_data", schedule=None):
    # Where other callbacks are attached too, a list takes them all: on_success_callback=[report, another].
    @task(on_success_callback=report)
    def load() -> int:
        """Return how many rows were loaded."""
        return 42

    load()
