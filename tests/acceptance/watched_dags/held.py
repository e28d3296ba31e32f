"""DAGs that a test holds up until there is a file named after them."""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator
from calls import watched_dag  # type: ignore[import-not-found]

for name in ("over_api_server", "over_relay", "over_scheduler"):
    with watched_dag(name):
        hold = BashOperator(
            task_id="holds", bash_command='until [ -e "$AIRFLOW_HOME/{{ dag.dag_id }}.go" ]; do sleep 0.1; done'
        )
        hold >> BashOperator(task_id="fails", bash_command="exit 7")
