"""DAGs that a test holds up at a certain point, until there is a file named after that point and the run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_webhook_notify import WebhookNotifier, dag_callbacks, task_callbacks

HOME = Path(os.environ["AIRFLOW_HOME"])


def hold(context: Mapping[str, Any]) -> None:
    """Be a callback that begins, says so, and waits."""
    run_id = context["run_id"]
    (HOME / f"{run_id}.held").touch()
    while not (HOME / f"{run_id}.go").exists():
        time.sleep(0.05)


with DAG("steps", default_args=task_callbacks("ops"), **dag_callbacks("ops")):
    holds = BashOperator(
        task_id="holds",
        bash_command='until [ -e "$AIRFLOW_HOME/{{ run_id }}.go" ]; do sleep 0.1; done',
        execution_timeout=timedelta(minutes=2),
    )
    holds >> BashOperator(task_id="fails", bash_command="exit 7")

with DAG("held_run", on_success_callback=[hold, WebhookNotifier("ops")]):
    BashOperator(task_id="succeeds", bash_command="true")
