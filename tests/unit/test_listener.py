"""What a failed task leaves, by value."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time import task_runner
from airflow.sdk.log import mask_secret

from airflow_webhook_notify import listener
from airflow_webhook_notify.causes import Report
from airflow_webhook_notify.listener import on_task_instance_failed, report_of

TASK = SimpleNamespace(id="ti", dag_id="etl", task_id="load", run_id="r1", map_index=3)


class FailedError(Exception):
    """An exception with an exit code."""

    returncode = 7


@pytest.mark.parametrize(
    ("error", "message", "status"),
    [
        (ValueError("no"), "ValueError: no", 1),
        (FailedError("exited"), "FailedError: exited", 7),
        (SystemExit(3), "SystemExit: 3", 3),
        ("Task is not able to be run", "Task is not able to be run", 1),
        (None, None, 1),
    ],
)
def test_a_report_holds_message_and_exit_status(error: object, message: str | None, status: int) -> None:
    assert Report.from_json(report_of(TASK, error)) == Report("ti", message, status)


def test_a_reports_message_is_masked_and_cut() -> None:
    mask_secret("hunter2-of-the-task")
    assert report_of(TASK, ValueError("hunter2-of-the-task"))["message"] == "ValueError: ***"
    assert len(report_of(TASK, ValueError("x" * 10_000))["message"].encode()) == 4096


def test_the_report_goes_past_a_custom_xcom_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=sent.append), raising=False)
    on_task_instance_failed("running", TASK, ValueError("no"))
    (message,) = sent
    assert (message.key, message.dag_id, message.task_id, message.run_id, message.map_index) == (
        *("webhook_notify_failure", "etl", "load", "r1", 3),
    )
    assert message.value == {"id": "ti", "message": "ValueError: no", "exit_status": 1}


def test_nothing_is_done_outside_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("no supervisor is here")

    monkeypatch.setattr(BaseXCom, "_set_xcom_in_db", refuse)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", None, raising=False)
    on_task_instance_failed(None, TASK, "set by hand")
    monkeypatch.delitem(sys.modules, "airflow.sdk.execution_time.task_runner")
    on_task_instance_failed(None, TASK, "set by hand")


def test_a_supervisor_that_refuses_troubles_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: Any) -> None:
        raise RuntimeError("the API server is gone: secret")

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=refuse), raising=False)
    on_task_instance_failed("running", TASK, ValueError("no"))
    assert caplog.messages == ["webhooks: this failure's message is not in its event (RuntimeError)"]


def test_it_is_one_hook() -> None:
    hooks = [name for name in vars(listener) if name.startswith("on_")]
    assert hooks == ["on_task_instance_failed"]
