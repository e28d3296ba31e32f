"""One task per kind of endpoint, that tells of its success by `requests.post`, as DAG authors write it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from airflow.sdk import DAG, task

from tests.bench.timed import ENDPOINT, KINDS, Timed, event_id, load

post, loading = load("requests", "post")


def tell(url: str) -> Callable[[Any], None]:
    """Return a callback that posts to a URL."""

    def callback(context: Any) -> None:
        ti = context["ti"]
        event = {"job": f"{ti.dag_id}.{ti.task_id}", "run": ti.run_id, "state": "success"}
        post(url, json=event, headers={"webhook-id": event_id("bare", context)}).raise_for_status()

    return callback


for kind in KINDS:
    with DAG(f"bare_{kind}"):

        @task(on_success_callback=Timed(tell(os.environ[ENDPOINT.format(kind)]), loading))
        def work() -> None:
            """Do nothing."""

        work()
