"""DAGs in which tasks end in every way there is."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, Context, task
from airflow.sdk.exceptions import AirflowSkipException
from calls import watched_dag  # type: ignore[import-not-found]
from failing_trigger import FailingTrigger  # type: ignore[import-not-found]

from airflow_webhook_notify import dag_callbacks, task_callbacks

NEW_YEAR = datetime(2026, 1, 1, tzinfo=timezone.utc)
SOON = timedelta(seconds=1)
LONG = 600


class DeferringOperator(BaseOperator):
    """Gives its process back to a trigger that fails."""

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow's signature
        """Defer."""
        self.defer(trigger=FailingTrigger(), method_name="resume")

    def resume(self, context: Context, event: Any) -> None:
        """Never called."""


@task
def dies() -> None:
    """Be killed as the kernel kills what takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@task
def dies_with_supervisor() -> None:
    """Be killed together with the process that would tell."""
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


@task
def runs_out_of_memory() -> None:
    """Ask for more memory than the process may have."""
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
    bytearray(2**30)


@task
def raises() -> None:
    """Fail by an exception."""
    raise ValueError("no such table")


@task
def exits() -> None:
    """Fail by an exit status."""
    sys.exit(7)


@task
def sleeps() -> None:
    """Run for as long as anyone lets it."""
    time.sleep(LONG)


@task
def times_out() -> None:
    """Take too long."""
    time.sleep(LONG)


@task
def skips() -> None:
    """Skip."""
    raise AirflowSkipException("nothing to do")


@task
def is_mapped(number: int) -> None:
    """Fail for one number."""
    if number == 2:
        raise ValueError("two")


# Without any callback: Airflow would run the empty one else.
with DAG("fine"):
    BashOperator(task_id="works", bash_command="echo {{ run_id }}") >> EmptyOperator(task_id="empty")

# No run of it is due by itself.
with DAG("backfilled", schedule="@daily", start_date=NEW_YEAR, end_date=NEW_YEAR, catchup=False):
    BashOperator(task_id="works", bash_command="true")

with watched_dag("succeeds"):
    BashOperator(task_id="works", bash_command="true")

with watched_dag("exits_seven"):
    BashOperator(task_id="exits", bash_command="exit 7")
    exits.override(task_id="exits_itself")()

with watched_dag("raises"):
    raises()

with watched_dag("killed"):
    dies()

with watched_dag("lost"):
    dies_with_supervisor()

with watched_dag("out_of_memory"):
    runs_out_of_memory()

with watched_dag("retried"):
    BashOperator(task_id="recovers", bash_command="exit {{ 2 - ti.try_number }}", retries=1, retry_delay=SOON)

with watched_dag("killed_twice"):
    dies.override(task_id="dies", retries=1, retry_delay=SOON)()

with watched_dag("upstream"):
    raises() >> BashOperator(task_id="later", bash_command="true")

with watched_dag("skipped"):
    skips() >> BashOperator(task_id="later", bash_command="true")

with watched_dag("mapped"):
    is_mapped.expand(number=[1, 2, 3])

with watched_dag("task_timeout"):
    times_out.override(task_id="times_out", execution_timeout=SOON)()

with watched_dag("run_timeout", dagrun_timeout=timedelta(seconds=45)):
    sleeps()

with watched_dag("deferred"):
    DeferringOperator(task_id="defers")

with DAG("attached", default_args=task_callbacks("watch", retries=True, skips=True), **dag_callbacks("watch")):
    BashOperator(task_id="works", bash_command="true") >> skips()
    BashOperator(task_id="fails", bash_command="exit 3", retries=1, retry_delay=SOON)
    is_mapped.expand(number=[1, 2])
    dies()

for name in ("marked_success", "marked_failed", "run_marked", "cleared", "cleared_running"):
    with watched_dag(name):
        sleeps()
