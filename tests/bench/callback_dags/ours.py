"""One task per kind of endpoint, that tells of its success by `WebhookNotifier`."""

from __future__ import annotations

from airflow.sdk import DAG, task

from tests.bench.timed import KINDS, Timed, load

WebhookNotifier, loading = load("airflow_webhook_notify", "WebhookNotifier")

for kind in KINDS:
    with DAG(f"ours_{kind}"):

        @task(on_success_callback=Timed(WebhookNotifier(kind), loading))
        def work() -> None:
            """Do nothing."""

        work()
