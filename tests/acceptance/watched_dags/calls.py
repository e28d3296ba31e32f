"""What is attached to the watched DAGs: a plain callback that writes down its call, and a webhook of its own.

Invariant: what it writes is written by no code under test, one line for each call.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import DAG

from airflow_webhook_notify import dag_callbacks, task_callbacks

FILE = os.path.join(os.environ["AIRFLOW_HOME"], "called.jsonl")  # noqa: PTH118 - every parse of a DAG file pays for it


def _writes_down(name: str) -> Callable[[Mapping[str, Any]], None]:
    def write_down(context: Mapping[str, Any]) -> None:
        ti, of_run = context.get("ti"), "reason" in context
        task = {} if ti is None or of_run else {"task": ti.task_id, "index": ti.map_index, "try": ti.try_number}
        line = json.dumps({"dag": context["dag"].dag_id, "run": context["run_id"], **task, "callback": name})
        # One short write to the end of a file is not mixed with another.
        descriptor = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    return write_down


def _both(attached: Mapping[str, Any]) -> dict[str, Any]:
    return {name: [_writes_down(name), notifier] for name, notifier in attached.items()}


def watched_dag(dag_id: str, **arguments: Any) -> DAG:
    """Return a DAG with every callback that Airflow has, on its tasks and on itself."""
    callbacks = _both(task_callbacks("calls", retries=True, skips=True))
    return DAG(dag_id, default_args=callbacks, **_both(dag_callbacks("calls")), **arguments)
