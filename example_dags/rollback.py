"""A deployment that fails, and the rollback that a receiver starts when it hears of that.

The receiver is `rollback_receiver.py` beside this file; it says how to start it. Then:
`airflow webhooks add deploys --endpoint https://<where it listens>/ --topic job.execution.failed`.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param, task

from airflow_webhook_notify import dag_callbacks

with DAG("deploy", schedule=None, **dag_callbacks("deploys", topics=["job.execution.failed"])):
    BashOperator(task_id="release", bash_command="echo 'the new version does not answer' >&2; exit 1")

# No webhook here: a rollback that fails must not start another one.
with DAG(
    "rollback",
    schedule=None,
    # Whoever may start runs may pass any conf; params refuse what is not of this form.
    params={"dag_id": Param(type="string", minLength=1), "run_id": Param(type="string", minLength=1)},
):

    @task
    def roll_back(params: dict[str, Any] | None = None) -> str:
        """Put back what the failed run had changed."""
        failed = params or {}
        return f"rolled back {failed['run_id']} of {failed['dag_id']}"

    roll_back()
