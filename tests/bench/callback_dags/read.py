"""A task whose callback reads a Connection, as every callback must that keeps its endpoint in one."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from tests.bench.timed import Timed, load

BaseHook, loading = load("airflow.sdk", "BaseHook")


def read(context: Any) -> None:
    """Read the Connection and do nothing with it."""
    BaseHook.get_connection("fast")


with DAG("read_fast"):

    @task(on_success_callback=Timed(read, loading))
    def work() -> None:
        """Do nothing."""

    work()
