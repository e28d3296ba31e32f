"""One task per kind of endpoint, that tells of its success by the HTTP provider's `HttpNotifier`."""

from __future__ import annotations

from airflow.sdk import DAG, task

from tests.bench.timed import KINDS, Timed, load

HttpNotifier, loading = load("airflow.providers.http.notifications", "HttpNotifier")

for kind in KINDS:
    with DAG(f"provider_{kind}"):
        notifier = HttpNotifier(
            http_conn_id=f"http_{kind}",
            endpoint="/hook",
            headers={"webhook-id": "provider:{{ run_id }}"},
            json={"job": "{{ dag.dag_id }}.{{ task.task_id }}", "run": "{{ run_id }}", "state": "success"},
        )

        @task(on_success_callback=Timed(notifier, loading))
        def work() -> None:
            """Do nothing."""

        work()
