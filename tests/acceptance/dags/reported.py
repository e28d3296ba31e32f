"""DAGs whose job executions a webhook hears of: one task of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, Context, setup, task, teardown
from airflow.sdk.exceptions import AirflowSkipException

from airflow_webhook_notify import WebhookNotifier, dag_callbacks, task_callbacks

SOON = timedelta(seconds=1)


class WaitOperator(BaseOperator):
    """Waits a second in the triggerer."""

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow's signature
        """Give the process back."""
        self.defer(trigger=TimeDeltaTrigger(SOON), method_name="resume")

    def resume(self, context: Context, event: Any) -> None:
        """End the task."""


def say_so(context: Mapping[str, Any]) -> None:
    """Be another callback in the same list."""
    print("another callback ran")


with DAG(
    "every_kind",
    default_args=task_callbacks("ops", retries=True, skips=True),
    **dag_callbacks("ops"),
):
    BashOperator(task_id="succeeds", bash_command="echo {{ run_id }}")
    BashOperator(task_id="exits_seven", bash_command="exit 7", execution_timeout=timedelta(minutes=30))
    BashOperator(task_id="recovers", bash_command="exit {{ 2 - ti.try_number }}", retries=1, retry_delay=SOON)
    WaitOperator(task_id="waits")
    BashOperator(
        task_id="adds_data",
        bash_command="true",
        on_execute_callback=None,
        on_success_callback=[
            say_so,
            WebhookNotifier("ops", data={"run": "{{ run_id }}", "rows": 3}),
            say_so,
        ],
    )

    @task
    def is_python() -> int:
        return 1

    @task
    def is_mapped(number: int) -> int:
        return number

    @task(on_success_callback=WebhookNotifier("ops", topics=["job.execution.succeeded"]))
    def is_decorated() -> None:
        pass

    @task
    def skips_itself() -> None:
        raise AirflowSkipException("nothing to do")

    @setup
    def sets_up() -> None:
        pass

    @teardown
    def tears_down() -> None:
        pass

    is_python()
    is_mapped.expand(number=[10, 20])
    is_decorated()
    skips_itself()
    sets_up() >> BashOperator(task_id="between", bash_command="true") >> tears_down()

with DAG("calm", **dag_callbacks("ops")):
    BashOperator(task_id="says_nothing", bash_command="true")

# The webhook of this one hears of failures only.
with DAG("choosy", default_args=task_callbacks("ops_failures"), **dag_callbacks("ops_failures")):
    BashOperator(task_id="fails", bash_command="exit 3")
