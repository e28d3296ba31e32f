"""The other DAG of `make demo`: nothing is attached to it, and its task is killed."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("nightly"):
    # The shell's parent is the task's own process: this is what the kernel's out-of-memory killer does to it.
    load = BashOperator(task_id="load", bash_command="kill -9 $PPID")
