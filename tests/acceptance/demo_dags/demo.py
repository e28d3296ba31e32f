"""The DAG of `make demo`: one task succeeds, the next one exits 7."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_webhook_notify import dag_callbacks, task_callbacks

with DAG("etl", default_args=task_callbacks("demo"), **dag_callbacks("demo")):
    extract = BashOperator(task_id="extract", bash_command="echo 42 rows")
    load = BashOperator(task_id="load", bash_command="exit 7")
    extract >> load
