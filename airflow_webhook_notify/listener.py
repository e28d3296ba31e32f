"""What the process of a failed task leaves for the watcher: the message and the exit status, in an XCom.

Invariant: it does its work in a task's own process alone, raises nothing there, and waits for nothing but the task's
supervisor. It imports nothing heavy: every Airflow process imports it where failures are reported.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from airflow.listeners import hookimpl

log = logging.getLogger(__name__)


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:  # noqa: ARG001
    """Leave the report, in the process that saw the failure."""
    # The scheduler and the API server call this too, on threads where nothing of ours may run, about tasks that
    # they did not see fail.
    if not _is_in_task():
        return
    try:
        _report(task_instance, error)
    except Exception as problem:  # noqa: BLE001 - a failed task must not be troubled further
        log.warning("webhooks: this failure's message is not in its event (%s)", type(problem).__name__)


def _is_in_task() -> bool:
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return getattr(runner, "SUPERVISOR_COMMS", None) is not None


def _report(task_instance: Any, error: Any) -> None:
    from airflow.sdk.bases.xcom import BaseXCom

    from airflow_webhook_notify.causes import REPORT_KEY

    # Past a custom XCom backend, which may put it where the watcher can't read it.
    BaseXCom._set_xcom_in_db(
        REPORT_KEY,
        report_of(task_instance, error),
        dag_id=task_instance.dag_id,
        task_id=task_instance.task_id,
        run_id=task_instance.run_id,
        map_index=task_instance.map_index if task_instance.map_index is not None else -1,
    )


def report_of(task_instance: Any, error: Any) -> dict[str, Any]:
    """Return the XCom's value: masked here, since the task's secrets are known in its own process alone."""
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    from airflow_webhook_notify.causes import Report
    from airflow_webhook_notify.custom import Sanitizer
    from airflow_webhook_notify.executions import exit_status, text_of
    from airflow_webhook_notify.payloads import MAX_DATA
    from airflow_webhook_notify.topics import FAILED

    texts = Sanitizer(lambda text, key: str(redact(text, key)), limit=MAX_DATA)
    message = None if error is None else texts.sanitize(text_of(error), path="LastAttempt.Message")
    status = exit_status(FAILED, error)
    return Report(str(task_instance.id), message if isinstance(message, str) else None, status).to_json()
